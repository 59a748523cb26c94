"""HMDB51: a directory of clips for each class, and for each a file that divides them: 1 is a training clip, 2 a test clip, 0 neither.

There are three divisions, of 70 training and 30 test clips a class. Names of clips hold any character that a file system allows.
"""

from __future__ import annotations

import re
from functools import partial

from bilp.data import label_files
from bilp.data.contents import SplitName, counted
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import Found, Layout, View
from bilp.data.sources.video.clip_files import ClipFile, clips_below
from bilp.data.sources.video.clip_set import ClipSet, add_clip
from bilp.storage import objects

_DIVISION = re.compile(r"(.+)_test_split([123])\.txt")
SPLITS: dict[int, SplitName] = {1: "train", 2: "test"}
UNUSED = 0


class Hmdb(ClipSet):
    """HMDB51 unpacked, with the files that divide it."""

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The one form in which it is published, which unpacks into as many archives as there are classes."""
        looks = "<class>/*.avi, unpacked, and testTrainMulti_7030_splits/<class>_test_split1.txt"
        unused: SplitName | None = "train" if self.config.unused == "train" else None
        number = self.config.split
        fits = partial(_has_divisions, number=number)
        return (Layout("published divisions", looks, fits, partial(_divided, number=number, unused=unused)),)


def _divisions(view: View, number: int) -> dict[str, str]:
    """The path of the file that divides each class."""
    found = {}
    for entry in view.listing.files:
        said = _DIVISION.fullmatch(entry.path.rpartition("/")[2])
        if said is not None and int(said[2]) == number:
            found[said[1]] = entry.path
    return found


def _has_divisions(view: View, number: int) -> bool:
    return bool(_divisions(view, number))


def _divided(view: View, number: int, unused: SplitName | None) -> Found:
    clips: dict[str, dict[str, ClipFile]] = {}
    for clip in clips_below(view.listing, ""):
        clips.setdefault(clip.path.rpartition("/")[0].rpartition("/")[2], {})[clip.stem] = clip
    found: dict[SplitName, Gathered] = {"train": Gathered(), "test": Gathered()}
    left_out = 0
    for label, path in sorted(_divisions(view, number).items()):
        for row in label_files.named_last(label_files.read_text(objects.join(view.uri, path)), path, ("clip", "part")):
            part = row.number("part")
            split = unused if part == UNUSED else SPLITS.get(part)
            left_out += split is None
            if split is None:
                continue
            there = clips.get(label, {}).get(row["clip"].rpartition(".")[0])
            if there is None:
                view.lacks(split, f"{label}/{row['clip']}", f"missing: listed in {row.where}", label)
            else:
                add_clip(found[split], label, there)
    if left_out:
        view.note(f"left out {counted(left_out, 'clip')} that published division {number} does not use: ingest.unused train takes them")
    return found
