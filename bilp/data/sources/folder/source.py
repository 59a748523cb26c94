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

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import chain

import numpy as np

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data.contents import Contents, Group, SplitName, counted, cut, dataset_name
from bilp.data.items import Items
from bilp.data.listing import Entry, Listing, hashed, list_files, plain, problem_of
from bilp.data.names import class_name
from bilp.data.opening import DecodeError
from bilp.data.sources.asked_classes import Asked, asked_classes
from bilp.data.sources.folder.classes import Classes
from bilp.data.sources.folder.frames import exported_clips
from bilp.data.sources.folder.splits import find_splits
from bilp.data.sources.folder.tree import Tree, place
from bilp.data.sources.video.clip_files import is_video
from bilp.errors import DataError
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
        self._config = config

    def signature(self) -> str:
        """Digest of the directories and of every file's path, size and stamp (see `bilp.data.listing`)."""
        lines = (f"{entry.path}\x1f{entry.size}\x1f{entry.stamp}" for entry in self._listing.files)
        return hashed(chain(["folder", *self._listing.folders], lines, self._asked.counting))

    def read(self) -> Contents:
        """Classes and labels from the listing. Raises DataError if the directories are no such layout, or may be several."""
        self._refuse_clips()
        self._refuse_frames()
        tree = Tree(self._listing, shown(self.uri), tuple(map(class_name, self._asked.names)))
        train, test = find_splits(tree, self._train, self._test)
        sides: dict[SplitName, Classes] = {"train": train} if test is None else {"train": train, "test": test}
        items = {split: self._items(classes) for split, classes in sides.items()}
        ignored = self._listing.note()
        notes = (*tree.notes, *([ignored] if ignored else []))
        return Contents(tuple(train), items, notes=notes)

    def _refuse_clips(self) -> None:
        """Raise DataError for a directory of video files."""
        videos = [entry.path for entry in self._listing.files if is_video(entry.path)]
        if videos and 2 * len(videos) > len(self._listing.files):
            other = SOURCES[self._config.source].counterpart
            found = f"holds {counted(len(videos), 'video file')}, such as {shown(videos[0])}, and source {self._config.source} reads images"
            raise DataError(f"{shown(self.uri)}: {found}: set the source to {other}")

    def _refuse_frames(self) -> None:
        """Raise DataError for exported clips, whose frames would be images, unless the classes are given by name, which says so."""
        found = None if self._config.classes else exported_clips(self._listing)
        if found is not None:
            other = SOURCES[self._config.source].counterpart
            raise DataError(
                f"{shown(self.uri)}: {place(found.clip)} and all others like it hold the {found.frames} frames of a clip each, as bilp "
                f"export writes them, and source {self._config.source} reads images: set the source to {other} and ingest.frames to "
                f"{found.frames}, or ingest.classes to the names of the classes if each frame is an image of its own"
            )

    def groups(self, items: Items) -> Iterator[Group]:
        """The files, one reader each."""
        paths, lengths = items.paths(), items.length.tolist()
        for start, stop in cut(lengths):
            part, sizes = paths[start:stop], lengths[start:stop]
            readers: list[Callable[[], bytes]] = [partial(_read, self.uri, path, size) for path, size in zip(part, sizes, strict=True)]
            yield Group([shown(path) for path in part], readers, sizes)

    @cached_property
    def _asked(self) -> Asked:
        return asked_classes(self._config.classes)

    @cached_property
    def _listing(self) -> Listing:
        return list_files(self.uri)

    def _files(self, folders: Sequence[str]) -> list[Entry]:
        """The files of a class, sorted by path."""
        return sorted((entry for folder in folders for entry in self._listing.files_below(folder)), key=lambda entry: entry.path)

    def _items(self, classes: Classes) -> Items:
        files = [self._files(folders) for folders in classes.values()]
        entries = [entry for members in files for entry in members]
        labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(members) for members in files])
        return Items.of_files(labels, [entry.path for entry in entries], [entry.size for entry in entries])


def _read(uri: str, path: str, size: int) -> bytes:
    """The bytes of a file that was listed with `size` bytes; raises DecodeError if it cannot have any, and whatever storage raises."""
    if size == 0 and (problem := problem_of(uri, path)) is not None:  # what is never to be opened is listed as empty
        raise DecodeError(problem)
    return objects.read(objects.join(uri, path), expected=True)
