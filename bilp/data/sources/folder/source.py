"""An image folder: one directory per class, local or in object storage.

    ROOT/train/<class>/...  with  ROOT/test/<class>/...  (or evaluation or validation images)
    ROOT/train/<class>/...  alone: a test split is held out
    ROOT/<class>/...        likewise
    ROOT/<class>/train/...  with  ROOT/<class>/test/...

The directories of splits may be spelled in any usual way (see `bilp.data.split_names`), directories around everything
are looked into, and what lies beside is passed over with a note; what could be read in two ways is refused with the
setting that decides: `train`, `test` (a directory below the root, or a pattern of * ? [] for each name of its path;
`held_out` for test) and `classes`.

Classes are sorted by name, in Unicode form NFC; pictures by path, at any depth below their class. Hidden files and what
file systems leave behind (see `bilp.data.droppings`) are ignored; every other file of a class must be a picture. A file
that cannot be read counts as one that cannot be decoded. Names that are no UTF-8 are escaped in origins and classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial

import numpy as np

from bilp.config import IngestConfig
from bilp.data.contents import Contents, Group, Labels, SplitName, cut, dataset_name
from bilp.data.listing import Entry, Listing, list_files, plain
from bilp.data.names import class_name
from bilp.data.opening import DecodeError
from bilp.data.sources.folder.classes import Classes
from bilp.data.sources.folder.splits import find_splits
from bilp.data.sources.folder.tree import Tree
from bilp.storage import objects
from bilp.text.escaping import shown


class ImageFolder:
    """Pictures in one directory per class."""

    def __init__(self, config: IngestConfig) -> None:
        """`config.uri` is the root of the layout, a path or s3://...; train, test and classes are read as well."""
        assert config.uri is not None
        self.uri = plain(config.uri)
        self.name = dataset_name(self.uri, "folder")
        self._train, self._test = config.train, config.test
        self._classes = tuple(class_name(name) for name in config.classes)

    def signature(self) -> str:
        """Digest of the directories and of every file's path, size and stamp (see `bilp.data.listing`)."""
        lines = [f"{entry.path}\x1f{entry.size}\x1f{entry.stamp}" for entry in self._listing.files]
        return hashlib.sha256("\n".join(["folder", *self._listing.folders, *lines]).encode(errors="surrogateescape")).hexdigest()

    def read(self) -> Contents:
        """Classes and labels from the listing. Raises DataError if the directories are no such layout, or may be several."""
        tree = Tree(self._listing, shown(self.uri), self._classes)
        train, test = find_splits(tree, self._train, self._test)
        sides: dict[SplitName, Classes] = {"train": train} if test is None else {"train": train, "test": test}
        entries: dict[SplitName, list[Entry]] = {}
        labels: dict[SplitName, Labels] = {}
        for split, classes in sides.items():
            files = [self._files(folders) for folders in classes.values()]
            entries[split] = [entry for members in files for entry in members]
            labels[split] = np.repeat(np.arange(len(files), dtype=np.int64), [len(members) for members in files])
        ignored = self._listing.note()
        notes = (*tree.notes, *([ignored] if ignored else []))
        return Contents(tuple(train), labels, lambda split: self._groups(entries[split]), notes)

    @cached_property
    def _listing(self) -> Listing:
        return list_files(self.uri)

    def _files(self, folders: Sequence[str]) -> list[Entry]:
        """The files of a class, sorted by path."""
        return sorted((entry for folder in folders for entry in self._listing.files_below(folder)), key=lambda entry: entry.path)

    def _groups(self, entries: list[Entry]) -> Iterator[Group]:
        for start, stop in cut([entry.size for entry in entries]):
            part = entries[start:stop]
            readers: list[Callable[[], bytes]] = [partial(_read, self.uri, entry) for entry in part]
            yield Group([shown(entry.path) for entry in part], readers, [entry.size for entry in part])


def _read(uri: str, entry: Entry) -> bytes:
    """The bytes of a file; raises DecodeError if the listing has shown that there are none, and whatever storage raises."""
    if entry.problem:
        raise DecodeError(entry.problem)
    return objects.read(objects.join(uri, entry.path), expected=True)
