"""An image folder: one directory per class, local or in object storage.

    ROOT/train/<class>/...  with  ROOT/test/<class>/...  (or validation, valid, val)
    ROOT/train/<class>/...  alone: a test split is held out
    ROOT/<class>/...        likewise

Classes are sorted by name; pictures by path, at any depth below their class. Files and directories whose names start
with a dot are ignored, as are the thumbnails that file managers leave; every other file must be a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np

from bilp import storage
from bilp.data.contents import TEST_NAMES, Contents, Group, SplitName, check_class_names, check_same_classes, cut, dataset_name
from bilp.data.listing import Entry, Listing, list_files, plain
from bilp.errors import DataError

Classes = dict[str, list[Entry]]


class ImageFolder:
    """Pictures in one directory per class."""

    def __init__(self, uri: str) -> None:
        """`uri` is the root of the layout, a path or s3://..."""
        self.uri = plain(uri)
        self.name = dataset_name(self.uri, "folder")

    def signature(self) -> str:
        """Digest of the directories and of every file's path, size and modification stamp."""
        lines = [f"{entry.path}\x1f{entry.size}\x1f{entry.stamp}" for entry in self._listing.files]
        return hashlib.sha256("\n".join(["folder", *self._listing.folders, *lines]).encode()).hexdigest()

    def read(self) -> Contents:
        """Classes and labels from the listing. Raises DataError if the directories are no such layout."""
        roots = self._split_roots()
        found = {split: self._classes(root) for split, root in roots.items()}
        names = tuple(found["train"])
        check_class_names(names, self.uri)
        if "test" in found:
            check_same_classes(names, tuple(found["test"]), self.uri)
        labels = {
            split: np.repeat(np.arange(len(names), dtype=np.int64), [len(classes[name]) for name in names])
            for split, classes in found.items()
        }

        def groups(split: SplitName) -> Iterator[Group]:
            return self._groups([entry for name in names for entry in found[split][name]])

        return Contents(names, labels, groups)

    @cached_property
    def _listing(self) -> Listing:
        return list_files(self.uri)

    def _split_roots(self) -> dict[SplitName, str]:
        """Directory of each split, relative to the root; '' is the root itself."""
        top = self._listing.folders_in("")
        test = next((name for name in TEST_NAMES if name in top), None)
        if "train" in top:
            return {"train": "train"} if test is None else {"train": "train", "test": test}
        if test is not None and set(top) <= set(TEST_NAMES):
            raise DataError(f"{self.uri}: no training images: found {test}/ without train/")
        return {"train": ""}

    def _classes(self, root: str) -> Classes:
        names = self._listing.folders_in(root)
        where = storage.join(self.uri, root) if root else self.uri
        if not names:
            loose = len(self._listing.files_below(root))
            found = f"it holds {loose} files but no directory" if loose else "it is empty"
            raise DataError(f"{where}: no classes: {found}; put the images of each class into a directory named after the class")
        classes = {name: self._listing.files_below(f"{root}/{name}" if root else name) for name in names}
        for name, files in classes.items():
            if not files:
                raise DataError(f"{where}: class {name!r} is an empty directory: add its images or remove the directory")
        return classes

    def _groups(self, entries: list[Entry]) -> Iterator[Group]:
        for start, stop in cut([entry.size for entry in entries]):
            part = entries[start:stop]
            readers: list[Callable[[], bytes]] = [partial(storage.read, storage.join(self.uri, entry.path)) for entry in part]
            yield Group([entry.path for entry in part], readers)
