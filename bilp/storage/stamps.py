"""Stamps: what an earlier process found out about a file, so that the next one need not read it to trust it.

A stamp says which checksum a file had, with its size, inode and the times of its last modification and change. A file of which all
of these are still the same is taken for the same, as within one process (`bilp.storage.verification`); one that was replaced or
written to is read again. What the file system does not record, such as a disk that decays, is found by BILP_VERIFY=1, or after
TRUSTED seconds, when a stamp is good for nothing any more.

The time of a stamp's own modification says when the file was used last. All times are those of the file system.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from bilp.storage.cache_folder import arriving, is_own_file

TRUSTED = 30 * 86400.0
"""Seconds for which a stamp counts."""
_LARGEST = 1000  # bytes of a stamp


def holds(stamp: Path, file: Path, sha256: str) -> bool:
    """Whether a stamp says that the file, which was not touched since, has this checksum; it counts as used then."""
    if os.environ.get("BILP_VERIFY", "0") not in ("", "0") or not is_own_file(stamp) or stamp.stat().st_size > _LARGEST:
        return False
    with suppress(ValueError, OSError):
        found = json.loads(stamp.read_text(encoding="ascii"))
        if isinstance(found, dict) and isinstance(found.get("at"), float):
            return found == _told(file, sha256, found["at"]) and 0 <= used(stamp) - found["at"] <= TRUSTED
    return False


def write(stamp: Path, file: Path, sha256: str) -> None:
    """Say that the file has just been found to have this checksum. Raises StorageError if the local disk takes no stamp."""
    with arriving(stamp.name, str(file)) as temporary:
        temporary.write_text(json.dumps(_told(file, sha256, temporary.stat().st_mtime)), encoding="ascii")
        temporary.replace(stamp)


def used(stamp: Path) -> float:
    """Note that the file of a stamp is used; when that is."""
    os.utime(stamp)
    return stamp.stat().st_mtime


def _told(file: Path, sha256: str, at: float) -> dict[str, str | int | float]:
    facts = file.stat()
    return {
        "sha256": sha256,
        "size": facts.st_size,
        "inode": facts.st_ino,
        "modified": facts.st_mtime_ns,
        "changed": facts.st_ctime_ns,
        "at": at,
    }
