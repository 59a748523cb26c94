"""Room for copies: what is needed is compared with what is free before the first byte arrives, and old copies go where a limit is set.

BILP_CACHE_BYTES is how many bytes copies may fill. Those that were not used for longest are removed first, and none that anybody may
be about to open (used within GRACE seconds) or has mapped, as far as Linux tells: then the limit is exceeded rather than that.
Elsewhere a copy that is mapped stays readable for whoever has it, and takes its bytes until then.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import Timeout

from bilp.errors import ConfigError, StorageError
from bilp.storage.cache_folder import arriving, lock_of, root, sweep
from bilp.storage.scratch import amount

GRACE = 600.0
"""Seconds after its last use for which a copy stays."""
STAMP = ".stamp"
_COPY = re.compile("[0-9a-f]{64}")
_ARRIVING = re.compile(r"\.([0-9a-f]{64})\.[0-9a-f]{32}\.tmp")
_MAPPED = re.compile(r"/([0-9a-f]{64})(?: \(deleted\))?$", re.MULTILINE)


class Copy(NamedTuple):
    """A copy, or what arrived of one that may have lost its process."""

    used: float
    """When it was used last, in seconds by the clock of the file system."""
    name: str
    size: int


def make_room(need: int, what: str) -> None:
    """See to it that `need` bytes, of what is called `what` in errors, can arrive.

    Raises StorageError if the disk has less, and ConfigError if the limit is no number.
    """
    most, place = limit(), root()
    if most is not None:
        _evict(need, most, place)
    free = shutil.disk_usage(place).free
    if need > free:
        more = "" if most is not None else ", or BILP_CACHE_BYTES to a number of bytes, beyond which copies unused for longest go"
        raise StorageError(
            f"copies of {what} take {amount(need)}, and {amount(free)} are free in {place}: free some space there, or set BILP_CACHE "
            f"to a folder on another disk{more}"
        )


def limit() -> int | None:
    """Bytes that copies may fill, or None without a limit. Raises ConfigError for anything but a whole number."""
    text = os.environ.get("BILP_CACHE_BYTES", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"BILP_CACHE_BYTES is {text!r}: give a whole number of bytes, such as 200000000000, or leave it out")
    return int(text)


def copies_in(place: Path) -> list[Copy]:
    """Every copy in the folder, the one that was not used for longest first."""
    return sorted(_found(place))


def mapped() -> set[str]:
    """Names of the copies that processes of this machine have mapped, as far as this user may know."""
    names: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # it has ended, or is another user's
            names.update(_MAPPED.findall(maps.read_text(errors="replace")))
    return names


def _evict(need: int, most: int, place: Path) -> None:
    """Remove copies until `need` more bytes are within the limit, and free on the disk, or nothing is left that may go."""
    there = copies_in(place)
    lacking = max(sum(copy.size for copy in there) + need - most, need - shutil.disk_usage(place).free)
    if lacking <= 0:
        return
    with arriving("0" * 64, "a moment") as moment:
        now = moment.stat().st_mtime
    spared = mapped()
    for copy in there:
        if lacking <= 0 or copy.used > now - GRACE:
            return
        if copy.name not in spared and _remove(copy.name, place, now):
            lacking -= copy.size


def _remove(name: str, place: Path, now: float) -> bool:
    """Remove a copy, unless somebody is busy with it or has used it since it was listed."""
    lock, file = lock_of(name, timeout=0), place / name[:2] / name
    try:
        with lock:
            sweep(name)
            with suppress(FileNotFoundError):
                if _used(file) > now - GRACE:
                    return False
                file.unlink()
            file.with_name(f"{name}{STAMP}").unlink(missing_ok=True)
    except Timeout:
        return False
    return True


def _found(place: Path) -> Iterator[Copy]:
    for folder in place.iterdir():
        if len(folder.name) != 2 or not folder.is_dir():
            continue
        for file in folder.iterdir():
            arrived = _ARRIVING.fullmatch(file.name)
            if arrived or _COPY.fullmatch(file.name):
                with suppress(FileNotFoundError):  # gone since it was seen
                    yield Copy(_used(file), arrived[1] if arrived else file.name, file.lstat().st_blocks * 512)


def _used(file: Path) -> float:
    stamp = file.with_name(f"{file.name}{STAMP}")
    return (stamp if stamp.exists() else file).lstat().st_mtime
