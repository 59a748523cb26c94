"""Listing the files of a source, wherever it lies: relative path, size and a stamp that changes with the content.

The stamp of a local file is its modification time, change time and inode; that of an object its ETag. A file that was
replaced by one of the same size and modification time (`cp -p`, `rsync -t`, an unpacked archive) has another inode or
change time. Not seen are bytes that changed without the file system recording it: a disk that decays, a write below
the file system, a clock that was set back to the same nanosecond. Copying a source to another machine, or changing
rights and owners, gives other stamps for the same content: it is read once more and leads to the same data set.
"""

from __future__ import annotations

import hashlib
import os
import stat
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from bilp.data.droppings import is_dropping, kind
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

IRREGULAR = "a device, pipe or socket, not a file"
"""The problem of what is not even opened: reading might never end."""


class Entry(NamedTuple):
    """A file: path relative to the listed root with forward slashes, size in bytes, stamp, and why it cannot be read, if known.

    The path is what the file system says: bytes that are no UTF-8 are in it as surrogates. A tuple, because there may be millions.
    """

    path: str
    size: int
    stamp: str
    problem: str | None = None


@dataclass(frozen=True)
class Listing:
    """All files below a root, sorted by path, and all directories (object storage knows no empty ones).

    `ignored` counts the files and directories, by kind, that were left out because they are no part of the data.
    """

    files: tuple[Entry, ...]
    folders: tuple[str, ...]
    ignored: Mapping[str, int] = field(default_factory=dict)

    def folders_in(self, root: str) -> list[str]:
        """Sorted names of the directories directly in `root` ('' is the top)."""
        return list(self._children.get(root, ()))

    def files_below(self, root: str) -> list[Entry]:
        """The files at any depth below `root`, sorted by path."""
        if not root:
            return list(self.files)
        prefix = f"{root}/"
        return list(self.files[bisect_left(self._paths, prefix) : bisect_left(self._paths, f"{root}0")])  # '0' follows '/'

    def files_in(self, root: str) -> list[Entry]:
        """The files directly in `root`, sorted by path."""
        return list(self._direct.get(root, ()))

    def note(self) -> str | None:
        """One line about what was ignored, or None if nothing was."""
        if not self.ignored:
            return None
        kinds = [f"{shown(name)} ({count})" for name, count in sorted(self.ignored.items())]
        more = f" and {len(kinds) - 10} more kinds" if len(kinds) > 10 else ""
        return f"ignored {sum(self.ignored.values())} hidden or left-behind files and directories: {', '.join(kinds[:10])}{more}"

    @cached_property
    def _direct(self) -> dict[str, list[Entry]]:
        direct: dict[str, list[Entry]] = {}
        for entry in self.files:
            direct.setdefault(entry.path.rpartition("/")[0], []).append(entry)
        return direct

    @cached_property
    def _paths(self) -> list[str]:
        return [entry.path for entry in self.files]

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for folder in sorted(self.folders):
            parent, _, name = folder.rpartition("/")
            children.setdefault(parent, []).append(name)
        return children


def plain(uri: str) -> str:
    """A local URI as an absolute path, so that file names with per cent signs can be appended; others as they are.

    Raises DataError for one that is no valid text: it could not be kept with the results.
    """
    if not uri.isprintable() and any("\ud800" <= character <= "\udfff" for character in uri):
        raise DataError(f"{shown(uri)}: the path itself is no UTF-8: rename its directories, or give a link of another name")
    if uri.startswith("file://"):
        return os.path.normpath(unquote(urlsplit(uri).path))
    if "://" in uri:
        return uri.rstrip("/")
    return os.path.normpath(Path(uri).expanduser().absolute())  # links are not resolved: the name is the one that was given


def hashed(lines: Iterable[str]) -> str:
    """The sha256 of lines, of which a million need not be in memory together, in hexadecimal digits."""
    state, between = hashlib.sha256(), ""
    for line in lines:
        state.update(f"{between}{line}".encode(errors="surrogateescape"))
        between = "\n"
    return state.hexdigest()


def list_files(uri: str) -> Listing:
    """Everything below `uri`, hidden and ignored names left out. Raises DataError if it is no directory, StorageError if out of reach."""
    root = plain(uri)
    if "://" in root:
        if not objects.children(root):  # also puts a missing bucket or refused credentials into words
            raise DataError(f"{uri}: nothing lies there: check the path")
        return _remote(root)
    if not Path(root).exists():
        raise DataError(f"{uri}: nothing lies there: check the path")
    if not Path(root).is_dir():
        raise DataError(f"{uri}: is a file, not a directory: give the directory that holds the data")
    files: list[Entry] = []
    folders: list[str] = []
    ignored: Counter[str] = Counter()
    try:
        _walk(root, "", (os.path.realpath(root),), (files, folders, ignored))
    except OSError as error:
        raise DataError(f"{uri}: cannot be listed: {error}: give this user permission to read it, or move it elsewhere") from error
    return Listing(tuple(sorted(files, key=_path)), tuple(sorted(folders)), dict(ignored))


def _path(entry: Entry) -> str:
    return entry.path


def _walk(folder: str, prefix: str, above: tuple[str, ...], found: tuple[list[Entry], list[str], Counter[str]]) -> None:
    """Collect files, directories and counts of what is ignored; links are followed, but not to a directory above (endless)."""
    files, folders, ignored = found
    with os.scandir(folder) as items:
        for item in items:
            path = prefix + item.name
            if is_dropping(item.name):
                ignored[kind(item.name)] += 1
                continue
            if not _is_folder(item):
                files.append(_entry(item, path))
                continue
            real = os.path.realpath(item.path)
            if real in above:
                ignored["links to a directory above"] += 1
                continue
            folders.append(path)
            _walk(item.path, f"{path}/", (*above, real), found)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link in a circle, or through a directory that this user may not enter
        return False


def problem_of(uri: str, path: str) -> str | None:
    """Why the file of a listing cannot be read, if a look without opening it tells; such files are listed with 0 bytes."""
    if "://" in uri:
        return None
    place = Path(uri, path)
    try:
        return _irregular(place.stat())
    except OSError as error:
        return f"{_out_of_reach(place)} ({error.strerror})"


def _entry(item: os.DirEntry[str], path: str) -> Entry:
    """A file, also one that cannot be read: it is reported when it is wanted, together with all others."""
    try:
        facts = item.stat()
    except OSError as error:
        problem = _out_of_reach(Path(item.path))
        return Entry(path, 0, problem, f"{problem} ({error.strerror})")
    stamp = f"{facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}"
    irregular = _irregular(facts)
    return Entry(path, 0 if irregular else facts.st_size, stamp, irregular)


def _irregular(facts: os.stat_result) -> str | None:
    return None if stat.S_ISREG(facts.st_mode) else IRREGULAR


def _out_of_reach(place: Path) -> str:
    return f"a link to {shown(str(place.readlink()))}, which cannot be reached" if place.is_symlink() else "cannot be reached"


def _remote(uri: str) -> Listing:
    files = []
    folders: set[str] = set()
    ignored: dict[str, str] = {}
    for path, found in objects.objects(uri).items():
        parts = path.split("/")
        left = next((depth for depth, part in enumerate(parts, 1) if is_dropping(part)), None)
        if left is not None:
            ignored["/".join(parts[:left])] = kind(parts[left - 1])
            continue
        if {"", ".", ".."} & set(parts[:-1] if path.endswith("/") else parts):
            key = f"{uri}/{path}"
            raise DataError(
                f"{uri}: the key {shown(key)!r} has an empty name between two slashes, '.' or '..': copy the object to a key without"
            )
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if not path.endswith("/"):
            files.append(Entry(path, found.size, found.stamp))
    return Listing(tuple(sorted(files, key=_path)), tuple(sorted(folders - {""})), dict(Counter(ignored.values())))
