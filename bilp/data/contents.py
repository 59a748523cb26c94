"""What every source hands over, and the checks that hold for all of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bilp.data.items import Items
from bilp.data.names import spelling
from bilp.errors import DataError
from bilp.text.sample_words import spoken

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")

LONGEST_NAME = 1000
"""Characters of the name of a class."""
GROUP_IMAGES = 64
CLIP_DIMENSIONS = 4
"""Of the pixels [T, H, W, C] of a clip, as sources hand them over."""
GROUP_BYTES = 2**20

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Consecutive pictures of one split, few enough to be decoded at once.

    `images` is either uint8 pixels, [n, H, W] gray or [n, H, W, 3] RGB, or [n, T, H, W, C] of clips (C is 1 or 3), or one function per
    picture that returns its encoded bytes. `origins` says where each picture comes from, relative to its source. `sizes` are the encoded
    bytes of each, as far as they are known before anything is read; empty if they are not.
    """

    origins: Sequence[str]
    images: NDArray[np.uint8] | Sequence[Callable[[], bytes]]
    sizes: Sequence[int] = ()
    draws: Sequence[int] = ()
    """Numbers from the random stream of each clip; empty where nothing is drawn."""

    @property
    def of_clips(self) -> bool:
        """Whether these are the pixels of clips."""
        return isinstance(self.images, np.ndarray) and self.images.ndim == 1 + CLIP_DIMENSIONS


@dataclass(frozen=True)
class Skipped:
    """A picture that is missing, or could not be read or decoded: the source's split, where it came from, and why.

    `label` is its class, where that is known. `count` is how many pictures that is, about: of a tar that is cut off many may be lost.
    """

    split: SplitName
    origin: str
    reason: str
    label: int | None = None
    count: int = 1

    @property
    def entry(self) -> dict[str, Any]:
        """What a ledger says of it."""
        several = {"count": self.count} if self.count != 1 else {}
        return {"split": self.split, "origin": self.origin, "reason": self.reason, **several}

    @property
    def kept(self) -> dict[str, Any]:
        """All of it, to be made from again."""
        return {**self.entry, "label": self.label}


def lost(skipped: Iterable[Skipped]) -> int:
    """How many pictures these are."""
    return sum(entry.count for entry in skipped)


@dataclass(frozen=True)
class Contents:
    """A listed source: classes in order, and the items of each split in the source's order.

    `items` always has 'train'; 'test' only if the source brings its own test split. `class_ids` are what classes are known by in
    every copy of the set (n02012849), where there is such a thing. `notes` says in one line each what was chosen among several
    possibilities and what was passed over. `facts` are what else the listing told, such as the layout. `absent` are pictures that
    the source names and does not hold.
    """

    class_names: tuple[str, ...]
    items: Mapping[SplitName, Items]
    class_ids: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[Skipped, ...] = ()

    def unplaced(self) -> Contents:
        """The same of items of which nobody needs to know where they lie."""
        return replace(self, items={split: items.unplaced() for split, items in self.items.items()})

    @property
    def labels(self) -> dict[SplitName, Labels]:
        """The class of each item, [n], by split."""
        return {split: items.labels for split, items in self.items.items()}


class Source(Protocol):
    """A place that pictures come from."""

    @property
    def name(self) -> str:
        """Name of the data set, fit for a directory."""

    def signature(self) -> str:
        """Cheap: changes whenever the content may have changed, without decoding any picture."""

    def read(self) -> Contents:
        """Lists (and if need be downloads) the content; raises DataError if it is no data set."""

    def groups(self, items: Items) -> Iterator[Group]:
        """Reads these items, consecutive ones of one split, in their order; also if `read` was never called on this object."""


def cut(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Start and stop of consecutive groups of pictures with these encoded sizes in bytes.

    A group holds at most GROUP_IMAGES and, unless it is a single picture, at most GROUP_BYTES: what is decoded at the
    same time stays within bounds.
    """
    start = total = 0
    for position, size in enumerate(sizes):
        if position > start and (position - start == GROUP_IMAGES or total + size > GROUP_BYTES):
            yield start, position
            start, total = position, 0
        total += size
    if start < len(sizes):
        yield start, len(sizes)


def dataset_name(text: str, fallback: str) -> str:
    """The last component of a path or URI, made fit for a directory name."""
    last = re.sub(r"[^A-Za-z0-9._-]+", "-", text.rstrip("/").rsplit("/", 1)[-1]).strip("._-")
    return last or fallback


def check(contents: Contents, where: str) -> None:
    """Raise DataError unless classes and labels make a data set: names, ranges, no empty class, same classes in both splits."""
    names = contents.class_names
    if not names:
        first = f"; {contents.absent[0].origin}: {contents.absent[0].reason}" if contents.absent else ""
        raise DataError(f"{where}: {spoken('no classes found: a data set needs labeled images of at least one class')}{first}")
    check_class_names(names, where)
    unfit = [name for name in names if not 0 < len(spelling(name)) <= LONGEST_NAME]
    if unfit:
        found = f"has {len(unfit[0]):,} characters ({unfit[0][:40]!r}...)" if spelling(unfit[0]) else f"is blank ({unfit[0]!r})"
        raise DataError(f"{where}: the name of a class {found}: give it one of 1 to {LONGEST_NAME} characters")
    for split, labels in contents.labels.items():
        if len(labels) == 0:
            raise DataError(f"{where}: " + spoken(f"no {'training' if split == 'train' else split} images: add images, or check the path"))
        _check_range(labels, names, f"{where} ({split})")
    present = {split: set(np.unique(labels).tolist()) for split, labels in contents.labels.items()}
    missing = [name for index, name in enumerate(names) if index not in present["train"]]
    if missing:
        told = f"no {spoken('training images')} of {quoted(missing)}"
        raise DataError(f"{where}: {told}: add some, or take the class out of the list of classes")
    if "test" in present and present["test"] != present["train"]:
        lacking = [name for index, name in enumerate(names) if index not in present["test"]]
        raise DataError(f"{where}: train and test have different classes: test lacks {quoted(lacking)}: give both the same classes")


def check_class_names(names: Sequence[str], where: str) -> None:
    """Raise DataError if two names look the same: if they differ only in surrounding spaces or Unicode form, or not at all."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in names:
        spellings[spelling(name)].append(name)
    for same in spellings.values():
        if len(same) > 1:
            listed = ", ".join(map(ascii, same))  # in plain letters, or Unicode forms would look the same here as well
            raise DataError(
                f"{where}: duplicate class names {listed}: rename or merge them; spaces and Unicode forms do not tell classes apart"
            )


def check_same_classes(train: Sequence[str], test: Sequence[str], where: str) -> None:
    """Raise DataError with the difference if the class names of the two splits differ."""
    only_train, only_test = sorted(set(train) - set(test)), sorted(set(test) - set(train))
    if only_train or only_test:
        parts = [f"only in {split}: {quoted(names)}" for split, names in (("train", only_train), ("test", only_test)) if names]
        raise DataError(
            f"{where}: train and test have different classes ({'; '.join(parts)}): give both the same classes, "
            "or name those that both have in ingest.classes"
        )


def _check_range(labels: Labels, names: Sequence[str], where: str) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if len(wrong):
        row, value = int(wrong[0]), int(labels[wrong[0]])
        hint = (
            "negative labels often mark images without a label: remove them" if value < 0 else "correct the labels or the list of classes"
        )
        found = spoken(f"label {value} of image {row} is outside 0..{len(names) - 1} ({len(wrong)} such labels): {hint}")
        raise DataError(f"{where}: {found}")


def quoted(names: Sequence[str], most: int = 10) -> str:
    """Names for a message, in quotation marks, the first ten of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun for a message: 1 file, 2 files, 1,437 classes."""
    return f"{count:,} {spoken(noun if count == 1 else plural or noun + 's')}"
