"""What a stretch of work asked of files on this machine, and what it found there.

Whoever finds all of it unchanged later would find the same.

A file is told by its inode, its size and the times of its last modification and change, as in `bilp.storage.verification`, and as it
was before it was read or after it was written. Listings of folders are not followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FOLDER, ABSENT, OTHER = "directory", "absent", "other"
_WRITING = frozenset(("write", "create"))
_UNFOLLOWED = frozenset(("list",))


class Trace:
    """Paths that were asked for, with what was found."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.written: set[str] = set()
        self.whole = True
        """Whether everything was a file or a folder of this machine."""

    def before(self, action: str, path: str) -> None:
        """Something is about to be done with a path."""
        if action not in _WRITING | _UNFOLLOWED and path not in self.seen:
            self.seen[path] = state(path)

    def after(self, action: str, path: str) -> None:
        """It has been done, or has failed."""
        if action in _WRITING:
            self.seen[path] = state(path)
            self.written.add(path)
        elif action == "delete":
            self.seen[path] = state(path)

    def settled(self) -> Mapping[str, str] | None:
        """What is found at every path now; None if something else has changed one of them meanwhile, or not all could be followed.

        A file that was written here may have lost the second name by which it came, which changes the time of its last change alone.
        """
        found = {path: state(path) for path in self.seen}
        changed = (path for path, before in self.seen.items() if before != found[path] and not self._by_itself(path, before, found[path]))
        if not self.whole or any(changed):
            return None
        return found

    def _by_itself(self, path: str, before: str, after: str) -> bool:
        """Whether what was done here made the difference: a folder that holds what was written, or a file that lost its second name."""
        if (before, after) == (ABSENT, FOLDER):
            return any(written.startswith(f"{path}/") for written in self.written)
        return path in self.written and _but_for_links(before) == _but_for_links(after)


_open: list[Trace] = []


@contextmanager
def tracing() -> Iterator[Trace]:
    """Follow what every thread of this process asks of storages in the block."""
    trace = Trace()
    _open.append(trace)
    try:
        yield trace
    finally:
        _open.remove(trace)


@contextmanager
def followed(action: str, path: str | None) -> Iterator[None]:
    """One request, for a path of this machine or, with None, for something elsewhere."""
    for trace in _open:
        if path is None:
            trace.whole = False
        else:
            trace.before(action, path)
    try:
        yield
    finally:
        for trace in _open:
            if path is not None:
                trace.after(action, path)


def state(path: str) -> str:
    """What lies at a path."""
    try:
        facts = Path(path).stat()
    except OSError:
        return ABSENT
    if stat.S_ISDIR(facts.st_mode):
        return FOLDER
    if not stat.S_ISREG(facts.st_mode):
        return OTHER
    rights = "readable" if os.access(path, os.R_OK) else "unreadable"
    return f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns} {rights} {facts.st_ctime_ns}"


def _but_for_links(found: str) -> str:
    return found.rpartition(" ")[0] if found not in (FOLDER, ABSENT, OTHER) else found
