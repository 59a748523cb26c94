"""The address of the git repository that workers clone: it is registered, so it may hold no login."""

from __future__ import annotations

import re

from bilp.errors import ConfigError

NAME = "BILP_REPOSITORY"
_SSH = ("ssh", "git+ssh", "ssh+git")
_ACCOUNT = re.compile(r"[\w.-]*")
"""What may stand before an @ where git goes through ssh: the name of an account, whose key is on the worker's machine."""
_SCP = re.compile(rf"{_ACCOUNT.pattern}@[^@]+")


def check(address: str) -> None:
    """Raise ConfigError if the address holds a login, without repeating it."""
    scheme, separator, rest = address.partition("://")
    user, at, _ = rest.rpartition("@")
    if (separator and scheme.lower() == "file") or address.startswith(("/", ".", "~")):
        return
    if separator and scheme.lower() in _SSH:
        named = not _ACCOUNT.fullmatch(user)
    elif separator:
        named = bool(at)
    else:
        named = "@" in address and not _SCP.fullmatch(address)
    if named or "?" in address or "#" in address:
        raise ConfigError(
            f"{NAME} holds a user, a password or a token, and who reaches the server can read what is registered there: give the address "
            "alone, and git's login to the workers' machines (deployments/README.md, Logins and secrets)"
        )
