"""The folder that copies of objects lie in: where it is, whose it must be, and how files come into it.

    BILP_CACHE (default ~/.cache/bilp)/<first digits of a name>/<name>

Names are sha256 in hexadecimal digits. Whoever could write into the folder could change what lies there: therefore it is refused if
it belongs to another user, or others may write into it, and links in it are not followed.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from bilp.errors import StorageError, StorageRefused

_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG)
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_REMEDY = "remove it, for it holds copies alone, or set BILP_CACHE to a folder of this user's own"


def place() -> Path:
    """The folder of all copies, whether it is there or not."""
    found = Path(os.environ.get("BILP_CACHE") or Path.home() / ".cache" / "bilp").expanduser()
    if found.is_symlink() and found.lstat().st_uid in (os.geteuid(), 0):  # somebody's cache may lie on another disk
        found = found.resolve()
    return found


def root() -> Path:
    """The same, which is there afterwards. Raises StorageRefused if it cannot be trusted."""
    folder = place()
    _make(folder)
    return folder


def folder_of(name: str) -> Path:
    """The folder of what is called by a name, likewise."""
    folder = root() / name[:2]
    if _make(folder) & _OTHERS:
        folder.chmod(0o700)
    return folder


def lock_of(name: str, timeout: float = -1) -> FileLock:
    """A lock that one thread of one process on this machine holds at a time; the end of a process, also by SIGKILL, sets it free.

    `timeout` is how many seconds `acquire` waits for it, -1 without end.
    """
    return FileLock(folder_of(name) / f"{name}.lock", timeout=timeout, mode=0o600)


@contextmanager
def locked(name: str, uri: str) -> Iterator[None]:
    """Hold that lock, however long others do before."""
    lock = lock_of(name)
    with _in_words(uri, folder_of(name)):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def arriving(name: str, uri: str) -> Iterator[Path]:
    """An empty file for what is on its way, gone afterwards unless it was renamed; errors of the local disk get words of their own."""
    folder = folder_of(name)
    file = folder / f".{name}.{uuid.uuid4().hex}.tmp"
    with _in_words(uri, folder):
        try:
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
            yield file
        finally:
            file.unlink(missing_ok=True)


@contextmanager
def _in_words(uri: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _LOCAL or error.__cause__ is not None:  # what the store refused has the client's error as its cause
            raise
        raise StorageError(
            f"cannot keep a copy of {uri} in {folder} ({error.strerror or error}): free some space there, or set BILP_CACHE to a folder "
            "on another disk where this user may write"
        ) from error


def sweep(name: str) -> None:
    """Remove what processes that were killed had under way for a name, by whoever holds its lock."""
    for file in folder_of(name).glob(f".{name}.*.tmp"):
        file.unlink(missing_ok=True)


def is_own_file(file: Path) -> bool:
    """Whether it is there as a file of this user, and not as a link to one."""
    try:
        facts = file.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid()


def _make(folder: Path) -> int:
    """Make the folder, for this user alone, unless it is there. Its mode; raises StorageRefused if others could change what is in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise StorageRefused(
            f"cannot use {folder} for copies ({error.strerror or error}): set BILP_CACHE to a folder where this user may write"
        ) from error
    if not stat.S_ISDIR(facts.st_mode):
        raise StorageRefused(f"{folder}, for copies, is a link, and copies would land where it points: {_REMEDY}")
    if facts.st_uid != os.geteuid():
        raise StorageRefused(f"{folder}, for copies, belongs to another user (number {facts.st_uid}), who could change them: {_REMEDY}")
    if facts.st_mode & _OTHERS_WRITE:
        raise StorageRefused(f"others may write into {folder}, for copies, and could change them: {_REMEDY}")
    return facts.st_mode
