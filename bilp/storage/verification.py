"""Comparing files with their checksums, once per process and file.

What was compared is remembered with the file's inode, size, modification time and change time: a file that was replaced or
written to afterwards is compared again, also if its size and modification time were kept. Not seen are bytes that changed
without the file system recording it: a disk that decays, a write below the file system, a clock that was set back to the
same nanosecond.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from bilp.errors import DamagedArtifact

# Path, sha256, device, inode, size, time of modification and of change.
_State = tuple[str, str, int, int, int, int, int]
_verified: set[_State] = set()


def file_digest(file: Path) -> str:
    """The sha256 of a local file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(data: bytes) -> str:
    """The sha256 of some content, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def compared(file: Path, sha256: str) -> str:
    """The checksum of the file; without reading it again if this process found it to be `sha256` and the file is the same still."""
    state = _state(file, sha256)  # as it was before it is read: what is written meanwhile gives another one
    if state in _verified:
        return sha256
    found = file_digest(file)
    if found == sha256:
        _verified.add(state)
    return found


def verify(file: Path, sha256: str, uri: str, artifact: str | None) -> None:
    """Compare a file with its checksum, unless this process did before. Raises DamagedArtifact, of `uri`, if it differs."""
    found = compared(file, sha256)
    if found != sha256:
        raise damaged(uri, sha256, found, artifact)


def damaged(uri: str, expected: str, found: str, artifact: str | None = None) -> DamagedArtifact:
    """The error for a file that differs from what was published in `artifact`, by default the folder that it lies in."""
    return DamagedArtifact(f"{uri} is damaged: expected sha256 {expected}, found {found}; {again(artifact or uri.rpartition('/')[0])}")


def again(artifact: str) -> str:
    """What to do about an artifact that is not what was published."""
    return f"delete {artifact}, and the same command will compute it again"


def _state(file: Path, sha256: str) -> _State:
    facts = file.stat()
    return str(file), sha256, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
