"""Images with equal pixels: how many there are, within a class, in several classes and in both splits, and which of them to drop.

What counts is what is stored: two files are equal if they have the same pixels after conversion to the data set's size and
color. `ingest.duplicates drop` leaves, in this order of reasons,

1. nothing of a picture that is found in several classes, in whichever splits: no label of it can be told to be right;
2. no training image whose pixels are also in the test split that the source brings;
3. of the other images of a class of a split with equal pixels, the first in the order of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.data.contents import SPLITS, SplitName, counted
from bilp.data.digests import Digests
from bilp.data.texts import chained

if TYPE_CHECKING:
    from bilp.data.shards import Stored


Mask = NDArray[np.bool_]

FILE = "duplicates.parquet"
DUPLICATES = pa.schema(
    [("sha256", pa.string()), ("split", pa.string()), ("class", pa.string()), ("origin", pa.string()), ("kept", pa.bool_())]
)
"""Every image whose pixels are found more than once in the source: their digest, its split and class there, where it came from, whether
it is in the data set, unless a change on purpose or a correction has taken it out (`bilp.data.alterations`)."""


def numbered(*digests: Sequence[str]) -> NDArray[np.int64]:
    """A number for each of n digests, `[n]`: the same for equal ones, from 0 in the order in which they are first met."""
    return Digests.joined(map(Digests.of, digests)).numbered()


@dataclass(frozen=True)
class Duplicates:
    """What a source holds more than once.

    `repeats` are the images of a split that repeat an earlier one of their class; `pictures` different pictures are found
    in several classes, as `ambiguous` images; `shared` test images have the pixels of a training image. `example` names two
    images of one picture in two classes, or is empty. `several` marks, by split, the images whose pixels are found more than
    once, and `surplus` those that `drop` leaves out.
    """

    repeats: dict[SplitName, int]
    pictures: int
    ambiguous: int
    shared: int
    example: tuple[str, ...]
    several: dict[SplitName, Mask]
    surplus: dict[SplitName, Mask]

    @property
    def found(self) -> bool:
        """Whether there are any."""
        return any(bool(mask.any()) for mask in self.several.values())


def find_duplicates(source: Mapping[SplitName, Stored], digests: Mapping[SplitName, Sequence[str]]) -> Duplicates:
    """The duplicates among the images of all splits of a source, given their digests."""
    splits = list(source)
    number = numbered(*(digests[split] for split in splits))
    label = np.concatenate([source[split].labels for split in splits])
    in_test = np.concatenate([np.full(len(source[split].labels), split == "test") for split in splits])
    pictures = int(number.max(initial=-1)) + 1
    first = _first_of_videos([source[split] for split in splits], number)
    several = np.bincount(number[np.unique(first)], minlength=pictures)[number] > 1

    classes = int(label.max(initial=0)) + 1
    in_class = number * classes + label
    ambiguous = np.bincount(np.unique(in_class) // classes, minlength=pictures) > 1
    tested, trained = (np.bincount(number[side], minlength=pictures) > 0 for side in (in_test, ~in_test))
    repeated = np.ones(len(number), dtype=np.bool_)
    repeated[np.unique(2 * in_class + in_test, return_index=True)[1]] = False
    repeated = repeated[first]
    surplus = repeated | ambiguous[number] | (tested[number] & ~in_test)

    example: tuple[str, ...] = ()
    if ambiguous.any():
        names = chained([source[split].origins for split in splits])
        same = np.flatnonzero(number == int(np.flatnonzero(ambiguous)[0]))
        example = (names[int(same[0])], names[int(same[label[same] != label[same[0]]][0])])
    places = np.split(np.arange(len(number)), np.cumsum([len(source[split].labels) for split in splits])[:-1])
    return Duplicates(
        repeats={split: int(repeated[place].sum()) for split, place in zip(splits, places, strict=True)},
        pictures=int(ambiguous.sum()),
        ambiguous=int(ambiguous[number].sum()),
        shared=int((in_test & trained[number]).sum()),
        example=example,
        several={split: several[place] for split, place in zip(splits, places, strict=True)},
        surplus={split: surplus[place] for split, place in zip(splits, places, strict=True)},
    )


def _first_of_videos(sides: Sequence[Stored], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each image of all splits, `[n]`, the place of the first window of its video with its pixels: itself, where one was taken of each.

    Equal windows of one video are no duplicates.
    """
    if all(side.videos is None for side in sides):
        return np.arange(len(number))
    before, videos = 0, list[NDArray[np.int64]]()
    for side in sides:
        own = np.arange(len(side.labels), dtype=np.int64) if side.videos is None else side.videos
        videos.append(own + before)
        before += int(own.max(initial=-1)) + 1
    pairs = np.stack([np.concatenate(videos), number])
    _, first, inverse = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
    places: NDArray[np.int64] = first[inverse.reshape(-1)]
    return places


def duplicates_table(
    found: Duplicates,
    source: Mapping[SplitName, Stored],
    digests: Mapping[SplitName, Sequence[str]],
    class_names: Sequence[str],
    dropped: bool,
) -> pa.Table:
    """Table DUPLICATES: equal images one after another, sets of them in the order of the source.

    Args:
        found: What `find_duplicates` found.
        source: In which splits of the source.
        digests: Of its images.
        class_names: In label order.
        dropped: Whether the surplus ones were.
    """
    rows = [
        {
            "sha256": digests[split][position],
            "split": split,
            "class": class_names[int(source[split].labels[position])],
            "origin": source[split].origins[position],
            "kept": not (dropped and bool(found.surplus[split][position])),
        }
        for split, mask in found.several.items()
        for position in mask.nonzero()[0].tolist()
    ]
    first = {str(row["sha256"]): place for place, row in reversed(list(enumerate(rows)))}
    return pa.Table.from_pylist(sorted(rows, key=lambda row: first[str(row["sha256"])]), DUPLICATES)


def duplicates_facts(found: Duplicates, divided: bool, dropped: bool) -> dict[str, Any]:
    """The counts of `found`; `divided` if the test split was made here, `dropped` if the surplus images were dropped."""
    return {
        "repeats": found.repeats,
        "pictures_in_several_classes": found.pictures,
        "images_in_several_classes": found.ambiguous,
        "example": list(found.example),
        "test_images_in_train": found.shared,
        "surplus": {split: int(mask.sum()) for split, mask in found.surplus.items()},
        "divided": divided,
        "dropped": dropped,
    }


def told_duplicates(facts: Mapping[str, Any]) -> list[str]:
    """The counts of `duplicates_facts` in one line for each kind, and what was done about them; none without duplicates."""
    lines = []
    if any(facts["repeats"].values()):
        lines.append(f"{_images(facts, 'repeats')} with the pixels of an earlier one of the same class")
    if facts["pictures_in_several_classes"]:
        pictures, images = facts["pictures_in_several_classes"], facts["images_in_several_classes"]
        one, other = facts["example"]
        copies = counted(images, "copy", "copies")
        lines.append(f"{counted(pictures, 'image')} with more than one label ({copies}), such as {one} and {other}")
    if facts["test_images_in_train"]:
        lines.append(f"{counted(facts['test_images_in_train'], 'test image')} with the pixels of a training image")
    if not lines:
        return []
    if facts["dropped"]:
        return [*lines, f"duplicates dropped: {_images(facts, 'surplus')}"]
    together = ", equal ones on one side of the split" if facts["divided"] else ""
    return [*lines, f"duplicates kept{together}; ingest.duplicates drop would leave out {_images(facts, 'surplus')}"]


def _images(facts: Mapping[str, Any], name: str) -> str:
    """'3 training images and 1 test image'; splits without any are left out, and the source's only split is not named."""
    words: dict[SplitName, str] = {"train": "image" if facts["divided"] else "training image", "test": "test image"}
    return " and ".join(counted(facts[name][split], words[split]) for split in SPLITS if facts[name].get(split))
