"""The forms in which people have a public data set, and which of them lies at an address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from bilp.data.contents import Skipped, SplitName, counted
from bilp.data.droppings import is_dropping
from bilp.data.listing import Entry, Listing, hashed, list_files, plain
from bilp.data.sources.gathered import Gathered
from bilp.errors import DataError
from bilp.text.escaping import shown

GLANCE, DEEPEST = 200, 4
"""Names of a folder, and folders within folders, that a glance takes in."""
CLASS_FOLDER = re.compile(r"n\d{8}")
MOST = 12
"""Names of what was found in a message."""

Found = Mapping[SplitName, Gathered]


@dataclass
class View:
    """A listed address, and what is said about it while it is read: `notes`, and the pictures that are named there and cannot be had."""

    uri: str
    listing: Listing
    notes: list[str] = field(default_factory=list)
    absent: list[tuple[str, Skipped]] = field(default_factory=list)
    cut: list[tuple[SplitName, str]] = field(default_factory=list)
    """Files that are cut off, so that nobody knows from them what they held."""

    @property
    def where(self) -> str:
        """The address for messages."""
        return shown(self.uri)

    def note(self, line: str) -> None:
        """Keep a line, once."""
        if line not in self.notes:
            self.notes.append(line)

    def lacks(self, split: SplitName, origin: str, reason: str, class_id: str = "", count: int = 1) -> None:
        """Keep a picture that cannot be had, or about so many; those of a class count only if that is taken."""
        told = reason if count == 1 else f"{reason} (about {counted(count, 'image')})"
        self.absent.append((class_id, Skipped(split, shown(origin), told, count=count)))

    def cut_off(self, split: SplitName, path: str) -> None:
        """Keep that a file of a split is cut off."""
        self.cut.append((split, path))

    def count_rest(self, split: SplitName, published: int, there: int) -> None:
        """If a file of a split is cut off, count as lost what the published set has more than is there or known to be lost."""
        paths = [path for of, path in self.cut if of == split]
        rest = published - there - sum(skipped.count for _, skipped in self.absent if skipped.split == split)
        if paths and rest > 0:
            reason = f"cut off: only {published - rest:,} of {counted(published, 'published image')} are there or known to be lost"
            self.lacks(split, ", ".join(paths), reason, count=rest)

    def absent_of(self, order: Sequence[str]) -> tuple[Skipped, ...]:
        """What cannot be had of the classes in `order`, each with its label, and whatever names no class."""
        labels = {class_id: label for label, class_id in enumerate(order)}
        return tuple(
            replace(skipped, label=labels.get(class_id)) for class_id, skipped in self.absent if not class_id or class_id in labels
        )


@dataclass(frozen=True)
class Layout:
    """A form of a data set: its name, how people recognize it, whether an address has it by its names, how it is read, and whether
    its pictures differ in size."""

    name: str
    looks: str
    fits: Callable[[View], bool]
    read: Callable[[View], Found]
    sizes_differ: bool = True


def viewed(uri: str) -> View:
    """What lies at an address. Raises DataError if nothing does."""
    return View(uri, list_files(uri))


def glanced(uri: str) -> View:
    """Some of what lies in a directory on this machine: GLANCE names in each folder, and nothing within folders of classes (n01440764).

    Raises DataError if there is none.
    """
    root = Path(plain(uri))
    if not root.is_dir():
        raise DataError(f"{shown(uri)}: no directory lies there: check the path")
    files: list[Entry] = []
    folders: list[str] = []
    waiting = [("", root)]
    while waiting:
        below, folder = waiting.pop()
        for each in sorted(islice(folder.iterdir(), GLANCE)):
            path = f"{below}{each.name}"
            if is_dropping(each.name):
                continue
            if not each.is_dir():
                files.append(Entry(path, 0, ""))
                continue
            folders.append(path)
            if not CLASS_FOLDER.fullmatch(each.name) and path.count("/") < DEEPEST:
                waiting.append((f"{path}/", each))
    return View(str(root), Listing(tuple(sorted(files, key=lambda entry: entry.path)), tuple(sorted(folders))))


def chosen(view: View, layouts: Sequence[Layout], title: str, miss: Callable[[View], str] | None = None) -> Layout:
    """The first layout that fits. Raises DataError that says what was found, and every layout that is known, if none does.

    `miss` tells of a layout that nearly fits what it lacks, '' where there is none.
    """
    for layout in layouts:
        if layout.fits(view):
            return layout
    known = "; ".join(f"{layout.name}: {layout.looks}" for layout in layouts)
    lacking = _half(view) or (miss(view) if miss is not None else "")
    lead = f"no known form of {title}: {lacking + '; ' if lacking else ''}"
    raise DataError(f"{view.where}: {lead}found {_top(view.listing)}; expected one of: {known}")


def _half(view: View) -> str:
    """What to say of directories of classes that are those of one split."""
    here = [name for name in view.listing.folders_in("") if CLASS_FOLDER.fullmatch(name)]
    if not here:
        return ""
    return f"{shown(here[0])}/ and so on are the classes of one split: give the directory above, which holds train/ and val/"


def digest(view: View, kind: str, more: Sequence[str] = ()) -> str:
    """A digest of the names, sizes and stamps of all files, and of whatever else the content depends on."""
    return hashed(chain([kind, *more], (f"{entry.path}\x1f{entry.size}\x1f{entry.stamp}" for entry in view.listing.files)))


def listed(splits: Mapping[SplitName, Sized]) -> dict[str, int]:
    """Facts of a listing: how many pictures it has of each split."""
    return {f"listed_{split}": len(part) for split, part in splits.items()}


def _top(listing: Listing) -> str:
    """The names of the two top levels, for a message."""
    names = []
    for folder in listing.folders_in(""):
        inner = [*(f"{name}/" for name in listing.folders_in(folder)), *(_name(entry.path) for entry in listing.files_in(folder))]
        names.append(f"{shown(folder)}/ ({_few(inner, 4)})" if inner else f"{shown(folder)}/")
    names += [_name(entry.path) for entry in listing.files_in("")]
    return _few(names, MOST)


def _few(names: Sequence[str], most: int) -> str:
    listed = ", ".join(shown(name) for name in names[:most])
    return (f"{listed} and {counted(len(names) - most, 'more', 'more')}" if len(names) > most else listed) or "nothing"


def _name(path: str) -> str:
    return path.rpartition("/")[2]
