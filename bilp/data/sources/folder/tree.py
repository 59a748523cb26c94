"""The directories of an image folder as the search for splits and classes sees them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from bilp.data.droppings import may_be_image
from bilp.data.listing import Listing
from bilp.data.names import class_name
from bilp.errors import DataError
from bilp.text.escaping import shown

MOST = 10  # names in a message


@dataclass
class Tree:
    """What was listed, what is to be found in it, and what was said about it so far.

    `where` is the address for messages. `classes` are the names asked for, empty for all. `left_out` are directories
    that the search does not see, because they are spoken for. Paths are relative to the root, '' is the root.
    """

    listing: Listing
    where: str
    classes: tuple[str, ...] = ()
    left_out: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Keep a line about what was chosen or passed over, once."""
        if line not in self.notes:
            self.notes.append(line)

    def folders(self, root: str) -> list[str]:
        """Names of the directories in `root` that hold images or nothing at all; those with other files only are noted."""
        kept: list[str] = []
        other: list[str] = []
        for name in self.listing.folders_in(root):
            path = below(root, name)
            if path not in self.left_out:
                (kept if path in self._with_images or not self.listing.files_below(path) else other).append(name)
        if other:
            self.note(f"passed over {places(root, other)}: no file there is an image")
        return kept

    def loose(self, root: str) -> list[str]:
        """Names of the images directly in `root`."""
        return [name for entry in self.listing.files_in(root) if may_be_image(name := entry.path.rpartition("/")[2])]

    def nested(self, root: str) -> bool:
        """Whether `root` holds directories with images in them."""
        return any(below(root, name) in self._with_images for name in self.folders(root))

    def empty(self, root: str) -> bool:
        """Whether no image lies in or below `root`."""
        return root not in self._with_images

    def wanted(self, names: Sequence[str]) -> bool:
        """Whether these directories are the classes asked for."""
        return bool(self.classes) and set(self.classes) <= {class_name(name) for name in names}

    def match(self, pattern: str, setting: str) -> list[str]:
        """The directories that a setting names: a path below the root, or a pattern of * ? [] for each name of the path.

        Raises DataError if there is none.
        """
        parts = [unicodedata.normalize("NFC", part) for part in pattern.split("/") if part not in ("", ".")]
        if not parts:
            return [""]
        named = {path: [class_name(part) for part in path.split("/")] for path in self.listing.folders}
        exact = [path for path, names in named.items() if names == parts]
        found = exact or [path for path, names in named.items() if _fits(names, parts)]
        if not found:
            raise DataError(f"{self.where}: {setting} = {pattern!r} is no directory there: found {places('', self.listing.folders_in(''))}")
        return found

    @cached_property
    def _with_images(self) -> frozenset[str]:
        found: set[str] = set()
        for entry in self.listing.files:
            folder, _, name = entry.path.rpartition("/")
            if folder in found or not may_be_image(name):
                continue
            while folder and folder not in found:
                found.add(folder)
                folder = folder.rpartition("/")[0]
            found.add("")
        return frozenset(found)


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return len(names) == len(patterns) and all(fnmatchcase(name, pattern) for name, pattern in zip(names, patterns, strict=True))


def below(root: str, name: str) -> str:
    """The path of a name in `root`."""
    return f"{root}/{name}" if root else name


def place(path: str) -> str:
    """A directory for a message: seg_train/seg_train/, or what the root is called."""
    return f"{shown(path)}/" if path else "the top directory"


def places(root: str, names: Sequence[str]) -> str:
    """Directories in `root` for a message, the first ten by name."""
    if not names:
        return "no directories"
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(place(below(root, name)) for name in names[:MOST]) + more
