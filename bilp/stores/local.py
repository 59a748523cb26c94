"""Files on this machine, or on a file system that several machines mount.

Everything is written under a hidden temporary name in the same folder, synced, and then renamed or linked: a process
that is killed at any point leaves the old content or the new one, and at most a temporary file that nobody looks at.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY = re.compile(r"\..+\.\d+\.\d+\.tmp")
_numbers = itertools.count()

# What writing answers where this user may only read.
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

# What it answers where a file lies in the place of a folder, or the other way round.
_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)

# What link() answers on file systems without hard links (FAT, some network and container mounts).
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def size(path: str) -> int:
    if not Path(path).is_file():
        raise FileNotFoundError(path)
    return Path(path).stat().st_size


def sizes(path: str, names: Iterable[str]) -> dict[str, int]:
    found = {}
    for name in names:
        with suppress(FileNotFoundError, NotADirectoryError):
            facts = Path(path, name).stat()
            if stat.S_ISREG(facts.st_mode):
                found[name] = facts.st_size
    return found


def exists(path: str) -> bool:
    return Path(path).exists()


def write(path: str, data: bytes) -> None:
    _publish(Path(path), lambda file: file.write(data))


def upload(path: str, source: Path) -> None:
    if not _link(source, Path(path)):
        with source.open("rb") as original:
            _publish(Path(path), lambda file: shutil.copyfileobj(original, file, 1 << 20))


def create(path: str, data: bytes) -> bool:
    target = Path(path)
    with _temporary(target, lambda file: file.write(data)) as temporary:
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_without_links(target, data)
    _sync_folder(target)
    return True


def names(path: str) -> list[str]:
    try:
        return [entry.name for entry in Path(path).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def delete(path: str) -> None:
    target = Path(path)
    if target.is_dir() and not target.is_symlink():
        # A folder disappears at once, so that nobody meets one that is half deleted.
        doomed = _unused_name(target)
        with suppress(FileNotFoundError):
            target.rename(doomed)
            shutil.rmtree(doomed)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            target.unlink()


def download(path: str, target: Path) -> None:
    shutil.copyfile(path, target)


def version(path: str) -> str:
    facts = Path(path).stat()
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def missing(error: Exception) -> bool:
    return isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError))


def refused(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (*_READ_ONLY, *_IN_THE_WAY)


def patience(error: Exception) -> float:
    return 0.0  # a disk that is full or fails may take hours; the stages try again a few times


def misconfigured(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _READ_ONLY


def remedy(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in _READ_ONLY:
        return "give this user write permission there, or set BILP_STORAGE to another place"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or set BILP_STORAGE to another disk"
    if number in _IN_THE_WAY:
        return "a file lies where a folder is needed or the other way round: remove it, or set BILP_STORAGE to another place"
    return "check the path and the disk it lies on"


@contextmanager
def _temporary(target: Path, fill: Callable[[BinaryIO], object]) -> Iterator[Path]:
    """A filled and synced temporary file beside `target`; gone afterwards unless it was renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, file = _open_unused(target)
    try:
        with file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _publish(target: Path, fill: Callable[[BinaryIO], object]) -> None:
    with _temporary(target, fill) as temporary:
        temporary.replace(target)
        _sync_folder(target)


def _link(source: Path, target: Path) -> bool:
    """Publish the file itself under a second name, without a copy; False where links are unknown or do not lead there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _unused_name(target)
    try:
        os.link(source, temporary)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EEXIST, *_NO_LINKS):
            return False
        raise
    try:
        with source.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(target)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _create_without_links(target: Path, data: bytes) -> bool:
    """Exclusive creation; unlike a link, a process that is killed in here leaves a truncated file behind."""
    try:
        file = target.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        target.unlink()
        raise
    _sync_folder(target)
    return True


def _unused_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{next(_numbers)}.tmp")


def _open_unused(target: Path) -> tuple[Path, BinaryIO]:
    """Exclusive opening, because process ids are not unique on a volume that several containers mount."""
    while True:
        name = _unused_name(target)
        with suppress(FileExistsError):
            return name, name.open("xb")


def _sync_folder(target: Path) -> None:
    """Make the new name itself durable."""
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
