"""Prefect's home: the folder that holds the database of a server on this machine, for the eyes of one user."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bilp.errors import BilpError
from flows.server import installation

LOCK = "local-server.lock"
DATABASE = "prefect.db"
OURS = {LOCK, "login", "address", "memo_store.toml", "profiles.toml", "logging.yml", "server.pid", "services.pid"}
OURS |= {"storage", "dlq", "concurrency_leases", ".sdk_telemetry"}
"""What Prefect and we keep in a home beside the database."""
REMEDY = "set PREFECT_HOME to a folder where this user may write"
SERVICE = installation.folder() / ".bilp" / "service"
"""The home of the service (`deployments`) of this checkout, or of this folder, unless PREFECT_HOME names another."""
OTHERS = 0o077
"""The permissions of everybody but the owner: parameters, logs and logins are nobody else's business."""


def check(home: Path) -> None:
    """Make the folder, take others' permissions on a home away, and raise BilpError if nothing can be written there."""
    try:
        home.mkdir(mode=0o777 & ~OTHERS, parents=True, exist_ok=True)
        _narrow(home)
        (home / LOCK).touch(mode=0o666 & ~OTHERS)
        with (home / LOCK).open("a"):
            pass
    except OSError as error:
        raise BilpError(f"Prefect cannot keep its database in {home} ({error.strerror or error}): {REMEDY}") from error


def is_open_to_others(home: Path) -> bool:
    """Whether anybody but its owner can look into the folder, or its owner is somebody else."""
    found = home.stat()
    return bool(found.st_mode & OTHERS) or found.st_uid != os.getuid()


def _narrow(home: Path) -> None:
    """Leave a home to its owner alone. A folder that holds anything else too, such as /tmp or a project, is left as it is."""
    found = home.stat()
    if not is_open_to_others(home) or found.st_uid != os.getuid() or found.st_mode & stat.S_ISVTX:
        return
    if not all(path.name.startswith(DATABASE) or path.name in OURS for path in home.iterdir()):
        return
    home.chmod(found.st_mode & 0o700)
    for folder, folders, files in os.walk(home):
        for name in (*folders, *files):
            path = Path(folder, name)
            if not path.is_symlink():
                with contextlib.suppress(OSError):  # it went away, or is another user's
                    path.chmod(path.stat().st_mode & 0o700)


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
