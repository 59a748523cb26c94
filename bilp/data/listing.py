"""Listing the files of a source, wherever it lies: relative path, size and a stamp that changes with the content."""

from __future__ import annotations

import os
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fsspec.core import url_to_fs

from bilp import storage
from bilp.errors import DataError

IGNORED = ("thumbs.db", "desktop.ini")  # left behind by file managers, as are names that start with a dot


@dataclass(frozen=True)
class Entry:
    """A file: path relative to the listed root with forward slashes, size in bytes, modification time or ETag."""

    path: str
    size: int
    stamp: str


@dataclass(frozen=True)
class Listing:
    """All files below a root, sorted by path, and all directories (object storage knows no empty ones)."""

    files: tuple[Entry, ...]
    folders: tuple[str, ...]

    def folders_in(self, root: str) -> list[str]:
        """Sorted names of the directories directly in `root` ('' is the top)."""
        return list(self._children.get(root, ()))

    def files_below(self, root: str) -> list[Entry]:
        """The files at any depth below `root`, sorted by path."""
        if not root:
            return list(self.files)
        prefix = f"{root}/"
        return list(self.files[bisect_left(self._paths, prefix) : bisect_left(self._paths, f"{root}0")])  # '0' follows '/'

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
    """A local URI as an absolute path, so that file names with per cent signs can be appended; others as they are."""
    if uri.startswith("file://"):
        return os.path.normpath(unquote(urlsplit(uri).path))
    if "://" in uri:
        return uri.rstrip("/")
    return os.path.normpath(Path(uri).expanduser().absolute())  # links are not resolved: the name is the one that was given


def list_files(uri: str) -> Listing:
    """Everything below `uri`, hidden and ignored names left out. Raises DataError if it is no directory, StorageError if out of reach."""
    root = plain(uri)
    if "://" in root:
        if not storage.children(root):  # also puts a missing bucket or refused credentials into words
            raise DataError(f"{uri}: nothing lies there: check the path")
        return _remote(root)
    if not Path(root).exists():
        raise DataError(f"{uri}: nothing lies there: check the path")
    if not Path(root).is_dir():
        raise DataError(f"{uri}: is a file, not a directory: give the directory that holds the data")
    files: list[Entry] = []
    folders: list[str] = []
    try:
        _walk(root, "", files, folders, (os.path.realpath(root),))
    except OSError as error:
        raise DataError(f"{uri}: cannot be listed: {error}: give this user permission to read it, or move it elsewhere") from error
    return Listing(tuple(sorted(files, key=_path)), tuple(sorted(folders)))


def _path(entry: Entry) -> str:
    return entry.path


def _walk(folder: str, prefix: str, files: list[Entry], folders: list[str], above: tuple[str, ...]) -> None:
    """Collect files and directories; links are followed, except to a directory above (which would never end)."""
    with os.scandir(folder) as found:
        for item in found:
            path = prefix + item.name
            if _ignored(item.name):
                continue
            if item.is_dir():
                real = os.path.realpath(item.path)
                if real not in above:
                    folders.append(path)
                    _walk(item.path, f"{path}/", files, folders, (*above, real))
            else:
                dangling = item.is_symlink() and not Path(item.path).exists()  # reported when it is read
                facts = item.stat(follow_symlinks=not dangling)
                files.append(Entry(path, facts.st_size, str(facts.st_mtime_ns)))


def _remote(uri: str) -> Listing:
    # A new client: a cached one would keep the endpoint of its first use. `children` has prepared the environment for it.
    filesystem, root = url_to_fs(uri, use_listings_cache=False, skip_instance_cache=True)
    found: dict[str, dict[str, Any]] = filesystem.find(root, detail=True)
    files = []
    folders: set[str] = set()
    for name, facts in found.items():
        path = name.removeprefix(root).lstrip("/")
        parts = path.split("/")
        if any(_ignored(part) for part in parts):
            continue
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if facts["type"] == "file" and path and not path.endswith("/"):
            files.append(Entry(path, int(facts["size"]), str(facts.get("ETag") or facts.get("LastModified"))))
    return Listing(tuple(sorted(files, key=_path)), tuple(sorted(folders - {""})))


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED
