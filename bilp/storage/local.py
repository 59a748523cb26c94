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
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bilp.errors import ImpossibleUri
from bilp.storage.backend import Version, Written, bounded
from bilp.storage.verification import file_digest

TEMPORARY = re.compile(r"\..+\.\d+\.\d+\.tmp")
_numbers = itertools.count()

# What writing answers where this user may only read.
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

# What it answers where a file lies in the place of a folder, or the other way round.
_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)

_IRREGULAR = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

# What link() answers on file systems without hard links (FAT, some network and container mounts).
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

_DEFAULT_ACCESS = "system.posix_acl_default"  # what `setfacl --default` writes


def read(path: str, most: int | None = None) -> bytes:
    _regular(path)
    # Whatever takes the place of the file meanwhile, opening it does not wait for somebody at the other end of a pipe.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        bounded(_regular(path, os.fstat(file.fileno())).st_size, most)
        return file.read()


def span(path: str, start: int, stop: int, stamp: str) -> bytes:
    _regular(path)
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if _version(_regular(path, os.fstat(file.fileno()))).stamp != stamp:
            raise OSError(errno.ESTALE, "it was replaced while it was read")
        return os.pread(file.fileno(), stop - start, start)


def size(path: str) -> int:
    return _regular(path).st_size


def sizes(path: str, names: Iterable[str]) -> dict[str, int]:
    found = {}
    for name in names:
        with suppress(FileNotFoundError, NotADirectoryError):
            facts = Path(path, name).stat()
            if stat.S_ISREG(facts.st_mode):
                found[name] = facts.st_size
    return found


def objects(path: str) -> dict[str, Version]:
    return {file.relative_to(path).as_posix(): version(str(file)) for file in Path(path).rglob("*") if file.is_file()}


def listing(path: str) -> dict[str, Written]:
    """Folders are entered through links too: somebody may keep a part of a storage on another disk.

    What lies in a folder is found at its own path, whatever links lead there besides. A link to a folder that it lies in ends there.
    """
    found: dict[str, Written] = {}
    links: list[_Folder] = []
    _walk((path, "", frozenset()), found, links)
    for link in links:
        _walk(link, found, None)
    return found


_Folder = tuple[str, str, frozenset[tuple[int, int]]]
"""Path, prefix of names, and the folders around it, by device and inode."""


def _walk(start: _Folder, found: dict[str, Written], links: list[_Folder] | None) -> None:
    """Find every file below a folder. Links to folders are put into `links`, or else entered last, and each folder is entered once."""
    entered = set(start[2])
    waiting = deque([start])
    while waiting:
        folder, below, around = waiting.pop()
        with suppress(FileNotFoundError, NotADirectoryError):  # gone since it was seen
            facts = Path(folder).stat()
            own = (facts.st_dev, facts.st_ino)
            if own in entered:
                continue
            entered.add(own)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        inner = (entry.path, f"{below}{entry.name}/", around | {own})
                        later = waiting.appendleft if links is None else links.append
                        (later if entry.is_symlink() else waiting.append)(inner)
                        continue
                    with suppress(FileNotFoundError):
                        if entry.is_file():
                            facts = entry.stat()
                            found[below + entry.name] = Written(facts.st_size, facts.st_mtime)


def written_at(path: str) -> float:
    return _regular(path).st_mtime


def touch(path: str) -> None:
    os.utime(path)


def exists(path: str) -> bool:
    return Path(path).exists()


def write(path: str, data: bytes) -> None:
    _publish(Path(path), lambda file: file.write(data))


def upload(path: str, source: Path) -> None:
    if not _link(source, Path(path)):
        _publish(Path(path), lambda file: _copy(source, file))


def create(path: str, data: bytes) -> bool:
    return _create(Path(path), lambda file: file.write(data))


def create_from(path: str, source: Path) -> bool:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if _gives_other_rights(target.parent, source):
        return _create(target, lambda file: _copy(source, file))
    _sync_file(source)
    try:
        os.link(source, target)
    except FileExistsError:
        if target.is_dir():
            raise
        return False
    except OSError as error:
        if error.errno not in (errno.EXDEV, *_NO_LINKS):
            raise
        return _create(target, lambda file: _copy(source, file))
    _sync_folder(target)
    return True


def can_create(size: int) -> bool:
    return True


def digest(path: str) -> str:
    return file_digest(Path(path))


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


def tidy(path: str) -> None:
    with suppress(OSError):  # the first that holds something, or is not there, ends it
        os.removedirs(path)


def copy(path: str, target: str) -> None:
    _regular(path)
    upload(target, Path(path))


def create_copy(path: str, target: str) -> bool:
    _regular(path)
    return create_from(target, Path(path))


def can_copy() -> bool:
    return True


def download(path: str, target: Path, expected: Version | None = None, at_once: bool = False, size: int | None = None) -> None:
    _regular(path)
    with target.open("wb") as file:
        _copy(Path(path), file)


def version(path: str) -> Version:
    return _version(_regular(path))


def _version(facts: os.stat_result) -> Version:
    return Version(f"{facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}", facts.st_size)


def reconnect() -> bool:
    return False


def missing(error: Exception) -> bool:
    return isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError))


def refused(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (*_READ_ONLY, *_IN_THE_WAY)


def retry_seconds(error: Exception) -> float:
    return 0.0  # a disk that is full or fails may take hours; the stages try again a few times


def misconfigured(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _READ_ONLY


def remedy(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in _READ_ONLY:
        return "give this user read and write permission there, or set BILP_STORAGE to another place"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or set BILP_STORAGE to another disk"
    if number in _IN_THE_WAY:
        return "a file lies where a folder is needed or the other way round: remove it, or set BILP_STORAGE to another place"
    return "check the path and the disk it lies on"


def _regular(path: str, facts: os.stat_result | None = None) -> os.stat_result:
    """What the file system says of a file. Raises ImpossibleUri for what is none: reading a pipe or a device might never end."""
    facts = facts or Path(path).stat()
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(facts.st_mode):
        kind = next((word for test, word in _IRREGULAR if test(facts.st_mode)), "no file")
        raise ImpossibleUri(f"{path} is {kind}, and only regular files are read: remove it, or give another path")
    return facts


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


def _create(target: Path, fill: Callable[[BinaryIO], object]) -> bool:
    with _temporary(target, fill) as temporary:
        try:
            os.link(temporary, target)
        except FileExistsError:
            if target.is_dir():  # and no other writer's content
                raise
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_without_links(target, fill)
    _sync_folder(target)
    return True


def _copy(source: Path, file: BinaryIO) -> None:
    with source.open("rb") as original:
        shutil.copyfileobj(original, file, 1 << 20)


def _link(source: Path, target: Path) -> bool:
    """Publish the file itself under a second name, without a copy; False where links are unknown, do not lead there or would be shut."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if _gives_other_rights(target.parent, source):
        return False
    temporary = _unused_name(target)
    try:
        os.link(source, temporary)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EEXIST, *_NO_LINKS):
            return False
        raise
    try:
        _sync_file(source)
        temporary.replace(target)
        _sync_folder(target)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _gives_other_rights(folder: Path, source: Path) -> bool:
    """Whether a team's folder gives new files its own group or access list; a link would keep those of where the file was made."""
    facts = folder.stat()
    if (facts.st_mode & stat.S_ISGID or sys.platform == "darwin") and facts.st_gid != source.stat().st_gid:
        return True
    try:
        return bool(os.getxattr(folder, _DEFAULT_ACCESS))
    except (OSError, AttributeError):  # there is none, or Python has no such function here
        return False


def _create_without_links(target: Path, fill: Callable[[BinaryIO], object]) -> bool:
    """Exclusive creation; unlike a link, a process that is killed in here leaves a truncated file behind."""
    try:
        file = target.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            fill(file)
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


def _sync_file(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _sync_folder(target: Path) -> None:
    """Make the new name itself durable."""
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
