"""Which permissions the files of a run get that a worker started.

Server and workers keep what they write to their user. Artifacts are another matter, since a team may share the storage: a run writes
them with the umask that its worker was started with, or with the one that BILP_UMASK names.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from bilp.errors import ConfigError
from flows.server.home import OTHERS

NAME = "BILP_UMASK"


def keep_private(environment: MutableMapping[str, str]) -> None:
    """Let this process and its children write for their user alone, but for runs. Raises ConfigError if BILP_UMASK is no umask."""
    given = os.umask(OTHERS)
    environment.setdefault(NAME, f"{given:03o}")
    _umask(environment)


def settle(environment: MutableMapping[str, str]) -> None:
    """Give this process, which is a run, the umask that its artifacts are to have. Raises ConfigError if BILP_UMASK is none."""
    if NAME in environment:
        os.umask(_umask(environment))


def _umask(environment: MutableMapping[str, str]) -> int:
    given = environment[NAME]
    if not (given and len(given) <= 4 and set(given) <= set("01234567") and int(given, 8) <= 0o777):
        raise ConfigError(f"{NAME} = {given!r} is no umask: use three octal digits, such as 027")
    return int(given, 8)
