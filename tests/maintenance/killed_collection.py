"""Collections of garbage that kill themselves with SIGKILL when they change the storage for the n-th time."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping

from bilp.maintenance.garbage import Options, plan
from bilp.maintenance.removal import collect
from bilp.storage import objects

NOW = Options(older_than=0.0)
CHANGES = ("os.remove", "os.rename", "os.rmdir")
"""What the interpreter says of each change of a local folder, before it is made."""

_server = multiprocessing.get_context("forkserver")


def collect_until_killed(root: str, change: int, options: Options = NOW) -> bool:
    """Collect in a process of its own that kills itself at a change, from 1; whether it came so far."""
    process = _server.Process(target=_collect, args=(dict(os.environ), root, change, options))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _collect(environment: Mapping[str, str], root: str, change: int, options: Options) -> None:
    os.environ.clear()  # that of the server, which began in another test
    os.environ.update(environment)
    count = itertools.count(1)

    def changed() -> None:
        if next(count) == change:
            os.kill(os.getpid(), signal.SIGKILL)

    if root.startswith("s3://"):
        objects.delete, objects.write = _told(objects.delete, changed), _told(objects.write, changed)  # type: ignore[assignment]
    else:
        sys.addaudithook(lambda event, _: changed() if event in CHANGES else None)
    collect(plan(root, options), options)


def _told(function: Callable[..., None], changed: Callable[[], None]) -> Callable[..., None]:
    def tell(*arguments: object) -> None:
        changed()
        function(*arguments)

    return tell
