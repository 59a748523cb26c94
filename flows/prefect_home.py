"""Prefect's home: the folder that holds the database of a server on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bilp.errors import BilpError

LOCK = "local-server.lock"
REMEDY = "set PREFECT_HOME to a folder where this user may write"


def check(home: Path) -> None:
    """Make the folder, and raise BilpError if nothing can be written there."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / LOCK).open("a"):
            pass
    except OSError as error:
        raise BilpError(f"Prefect cannot keep its database in {home} ({error.strerror or error}): {REMEDY}") from error


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Two servers that migrate one fresh database at once would break each other; where locks exist, they take turns."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
