"""Copies of objects on the local disk, for memory mapping: each lies under its checksum, in a folder that one user alone may enter.

    BILP_CACHE (default ~/.cache/bilp)/<first digits>/<sha256 of the content>
    BILP_CACHE/<first digits>/<sha256 of address and version>.digest      the checksum of an object that no manifest names

An object without a checksum of its own (a file of somebody's source) gets that of its first download, which was compared with
the object's size and, where that is one, its MD5; from then on its copy is compared with that. So nothing that lies there is taken
for more than its checksum says. Whoever could write into the folder could write those checksums, too: therefore it is refused if
it belongs to another user, or others may write into it, and links in it are not followed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bilp.errors import StorageError, StorageRefused
from bilp.storage.backend import Store
from bilp.storage.verification import compared, damaged, file_digest

_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_REMEDY = "remove it, for it holds copies alone, or set BILP_CACHE to a folder of this user's own"


def copy_of(store: Store, path: str, uri: str, sha256: str | None, artifact: str | None) -> Path:
    """A local copy of the object at `path` with this checksum, or, without one, of its present version.

    Raises DamagedArtifact if the object has another checksum, StorageRefused if the folder of copies cannot be trusted, StorageError
    if the local disk takes no copy, and whatever the store raises.
    """
    if sha256:
        return _present(sha256) or _fetched(store, path, uri, sha256, artifact)
    version = store.version(path)
    name = hashlib.sha256(f"{uri}\n{version.stamp}-{version.size}".encode()).hexdigest()
    known = _recall(_folder(name) / f"{name}.digest")
    if known and (copy := _present(known)):
        return copy
    with _arriving(name, uri) as arriving:
        store.download(path, arriving, version)
        digest = file_digest(arriving)
        copy = _keep(arriving, digest)
    with _arriving(name, uri) as arriving:
        arriving.write_text(digest)
        arriving.replace(_folder(name) / f"{name}.digest")
    return copy


def noted(name: str) -> bytes | None:
    """What was noted under a name, which is a sha256 in hexadecimal digits; None if nothing was."""
    file = _folder(name) / f"{name}.note"
    return file.read_bytes() if _is_own_file(file) else None


def note(name: str, content: bytes) -> None:
    """Keep a few bytes that this user alone may write, for as long as copies are kept."""
    with _arriving(f"{name}.note", "a note") as arriving:
        arriving.write_bytes(content)
        arriving.replace(_folder(name) / f"{name}.note")


def named(copy: Path, suffix: str) -> Path:
    """A copy's content beside it, under a name that ends so, for programs that go by that: a browser shows no page without `.html`."""
    target = copy.with_name(f"{copy.name}{suffix}")
    with _arriving(target.name, str(copy)) as arriving:
        arriving.write_bytes(copy.read_bytes())
        arriving.replace(target)
    return target


def _present(sha256: str) -> Path | None:
    """The copy with this checksum. One that differs was damaged on this disk, and not in the storage: it is as good as none."""
    copy = _folder(sha256) / sha256
    return copy if _is_own_file(copy) and compared(copy, sha256) == sha256 else None


def _fetched(store: Store, path: str, uri: str, sha256: str, artifact: str | None) -> Path:
    with _arriving(sha256, uri) as arriving:
        for at_once in (False, True):
            store.download(path, arriving, at_once=at_once)
            found = file_digest(arriving)
            if found == sha256:
                return _keep(arriving, sha256)
            store.reconnect()
        raise damaged(uri, sha256, found, artifact)


def _keep(arriving: Path, sha256: str) -> Path:
    copy = _folder(sha256) / sha256
    arriving.replace(copy)
    compared(copy, sha256)
    return copy


@contextmanager
def _arriving(name: str, uri: str) -> Iterator[Path]:
    """An empty file for what is on its way, gone afterwards unless it was renamed; errors of the local disk get words of their own."""
    folder = _folder(name)
    arriving = folder / f".{name}.{uuid.uuid4().hex}.tmp"
    try:
        os.close(os.open(arriving, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        yield arriving
    except OSError as error:
        if error.errno not in _LOCAL or error.__cause__ is not None:  # what the store refused has the client's error as its cause
            raise
        raise StorageError(
            f"cannot keep a copy of {uri} in {folder} ({error.strerror or error}): free some space there, or set BILP_CACHE to a folder "
            "on another disk where this user may write"
        ) from error
    finally:
        arriving.unlink(missing_ok=True)


def _recall(file: Path) -> str | None:
    """A checksum that was written down."""
    if not _is_own_file(file):
        return None
    text = file.read_text(encoding="ascii", errors="replace")
    return text if _SHA256.fullmatch(text) else None


def _is_own_file(file: Path) -> bool:
    """Whether it is there as a file of this user, and not as a link to one."""
    try:
        facts = file.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid()


def _folder(name: str) -> Path:
    """The folder of copies whose name begins as this one does."""
    root = Path(os.environ.get("BILP_CACHE") or Path.home() / ".cache" / "bilp").expanduser()
    if root.is_symlink() and root.lstat().st_uid in (os.geteuid(), 0):  # somebody's cache may lie on another disk
        root = root.resolve()
    _make(root)
    folder = root / name[:2]
    if _make(folder) & _OTHERS:
        folder.chmod(0o700)
    return folder


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
