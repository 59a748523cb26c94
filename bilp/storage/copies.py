"""Copies of objects on the local disk, for memory mapping: each lies under its checksum, for all processes of one user.

    BILP_CACHE (default ~/.cache/bilp)/<first digits>/<sha256 of the content>
    BILP_CACHE/<first digits>/<sha256 of the content>.stamp               what was found out about the copy (`bilp.storage.stamps`)
    BILP_CACHE/<first digits>/<sha256 of address and version>.digest      the checksum of an object that no manifest names

Of several processes that want the same object one fetches it, and the others wait for that. It arrives under a name of its own, is
compared with its checksum and written to the disk, and only then gets the name that counts: who is killed leaves nothing that is
taken for a copy.

An object without a checksum of its own (a file of somebody's source) gets that of its first download, which was compared with
the object's size and, where that is one, its MD5; from then on its copy is compared with that. So nothing that lies there is taken
for more than its checksum says.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from bilp.errors import StorageError
from bilp.storage import stamps
from bilp.storage.backend import Store
from bilp.storage.cache_folder import arriving, folder_of, is_own_file, locked, sweep
from bilp.storage.room import STAMP, make_room
from bilp.storage.verification import compared, damaged, file_digest, verify

LARGE = 16 << 20
"""Bytes from which on a file that needs no copy gets a stamp: smaller ones are read faster than anything is looked up."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def copy_of(
    store: Store, path: str, uri: str, sha256: str | None, artifact: str | None, size: int | None = None, thorough: bool = False
) -> Path:
    """A local copy of the object at `path` with this checksum, or, without one, of its present version.

    Args:
        store: what the object lies in.
        path: where, in the store's own form.
        uri: the same as people give it.
        sha256: the checksum, where it is known.
        artifact: the folder that an error says to delete.
        size: bytes of the object, where they are known; many come in pieces beside each other then.
        thorough: compare a copy that is there with its checksum, whatever an earlier process found.

    Raises DamagedArtifact if the object has another checksum, StorageRefused if the folder of copies cannot be trusted, StorageError
    if the local disk takes no copy, and whatever the store raises.
    """
    if sha256:
        with locked(sha256, uri):
            return _present(sha256, thorough) or _fetched(store, path, uri, sha256, artifact, size)
    version = store.version(path)
    name = hashlib.sha256(f"{uri}\n{version.stamp}-{version.size}".encode()).hexdigest()
    with locked(name, uri):
        digest = _recall(folder_of(name) / f"{name}.digest")
        if digest:
            with locked(digest, uri):
                if copy := _present(digest, thorough):
                    return copy
        sweep(name)
        make_room(version.size, uri)
        with arriving(name, uri) as file:
            store.download(path, file, version, size=version.size)
            digest = file_digest(file)
            with locked(digest, uri):
                copy = _keep(file, digest)
        with arriving(f"{name}.digest", uri) as file:
            file.write_text(digest)
            file.replace(folder_of(name) / f"{name}.digest")
        return copy


def check(file: Path, sha256: str, uri: str, artifact: str | None, thorough: bool = False) -> None:
    """Compare a file that needs no copy with its checksum; a large one only if no process did since it was changed, unless `thorough`.

    Raises DamagedArtifact, of `uri`, if it differs; `artifact` is the folder that the error says to delete.
    """
    stamp = _stamp_of(file, sha256) if file.stat().st_size >= LARGE else None
    if stamp is not None and not thorough and stamps.holds(stamp, file, sha256):
        return
    verify(file, sha256, uri, artifact)
    if stamp is not None:
        with suppress(StorageError):  # nothing but time is lost
            stamps.write(stamp, file, sha256)


def is_there(sha256: str) -> bool:
    """Whether a file lies under the name of a copy; what is in it is looked at when it is used."""
    return is_own_file(folder_of(sha256) / sha256)


def noted(name: str) -> bytes | None:
    """What was noted under a name, which is a sha256 in hexadecimal digits; None if nothing was."""
    file = folder_of(name) / f"{name}.note"
    return file.read_bytes() if is_own_file(file) else None


def note(name: str, content: bytes) -> None:
    """Keep a few bytes that this user alone may write, for as long as copies are kept."""
    with arriving(f"{name}.note", "a note") as file:
        file.write_bytes(content)
        file.replace(folder_of(name) / f"{name}.note")


def named(copy: Path, suffix: str) -> Path:
    """A copy's content beside it, under a name that ends so, for programs that go by that: a browser shows no page without `.html`."""
    target = copy.with_name(f"{copy.name}{suffix}")
    with arriving(target.name, str(copy)) as file:
        file.write_bytes(copy.read_bytes())
        file.replace(target)
    return target


def _present(sha256: str, thorough: bool) -> Path | None:
    """The copy with this checksum. One that differs was damaged on this disk, and not in the storage: it is as good as none."""
    copy = folder_of(sha256) / sha256
    if not is_own_file(copy):
        return None
    stamp = copy.with_name(f"{sha256}{STAMP}")
    if not thorough and stamps.holds(stamp, copy, sha256):
        return copy
    if compared(copy, sha256) != sha256:
        return None
    stamps.write(stamp, copy, sha256)
    return copy


def _fetched(store: Store, path: str, uri: str, sha256: str, artifact: str | None, size: int | None) -> Path:
    sweep(sha256)
    make_room(store.size(path) if size is None else size, uri)
    with arriving(sha256, uri) as file:
        for at_once in (False, True):
            store.download(path, file, at_once=at_once, size=size)
            found = file_digest(file)
            if found == sha256:
                return _keep(file, sha256)
            store.reconnect()
        raise damaged(uri, sha256, found, artifact)


def _keep(file: Path, sha256: str) -> Path:
    """The file, of which the checksum was just computed, as a copy; whole also if the machine loses its power now."""
    copy = folder_of(sha256) / sha256
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
    file.replace(copy)
    stamps.write(copy.with_name(f"{sha256}{STAMP}"), copy, sha256)
    return copy


def _stamp_of(file: Path, sha256: str) -> Path | None:
    """The stamp of a file that lies elsewhere; None where there is no folder for one."""
    name = hashlib.sha256(f"{file}\n{sha256}".encode()).hexdigest()
    with suppress(StorageError):
        return folder_of(name) / f"{name}{STAMP}"
    return None


def _recall(file: Path) -> str | None:
    """A checksum that was written down."""
    if not is_own_file(file):
        return None
    text = file.read_text(encoding="ascii", errors="replace")
    return text if _SHA256.fullmatch(text) else None
