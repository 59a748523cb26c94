"""UCF101 and the 50 classes of it that are called miniUCF, divided into training and test clips by one of three published lists.

Clips of one group (g01 to g25) show the same scene and must not be divided. Without lists the groups themselves decide as the lists do:
of division 1, 2 and 3 the test clips are those of groups 1 to 7, 8 to 14 and 15 to 21.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from bilp.data import label_files
from bilp.data.class_lists import class_order
from bilp.data.contents import SplitName, counted
from bilp.data.listing import Listing
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import Found, Layout, View
from bilp.data.sources.video.clip_set import ClipSet, add_clip
from bilp.data.sources.video.lists import Clips, read_lists
from bilp.errors import DataError
from bilp.storage import objects

PART = "miniucf"
"""The source that takes some classes only, which is also the name of their list."""
TEST_GROUPS = 7
_NAME = re.compile(r"v_(.+)_g(\d{2})_c\d{2}", re.IGNORECASE)


class Ucf(ClipSet):
    """UCF101 or miniUCF with the published lists, with those of training programs, or without any."""

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The lists of the authors, lists of paths and classes, and the clips alone."""
        number = self.config.split
        official: dict[SplitName, str] = {"train": f"trainlist{number:02}.txt", "test": f"testlist{number:02}.txt"}
        paths: dict[SplitName, str] = {"train": f"ucf101_train_split_{number}_videos.txt", "test": f"ucf101_val_split_{number}_videos.txt"}
        lists = "UCF-101/<class>/*.avi and ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt"
        return (
            Layout("published lists", lists, _has(*official.values(), "classInd.txt"), partial(_divided, files=official)),
            Layout("lists", ", ".join(paths.values()), _has(*paths.values()), partial(_listed, files=paths)),
            Layout("clips alone", "UCF-101/<class>/v_<class>_g01_c01.avi", _has_groups, partial(_grouped, number=number)),
        )

    def order(self, found: Found) -> Sequence[str]:
        """Sorted; of miniUCF its own classes alone. Raises DataError if the copy lacks one of them."""
        there = super().order(found)
        if self.name != PART:
            return there
        wanted = class_order(PART)
        if lacking := [name for name in wanted if name not in there]:
            raise DataError(f"{self.uri}: holds no training clips of {', '.join(lacking)}, which belong to miniUCF: fetch UCF101 again")
        return wanted


def _path(listing: Listing, name: str) -> str:
    """The path of the file of this name, at any depth; '' if there is none."""
    return next((entry.path for entry in listing.files if entry.path.rpartition("/")[2] == name), "")


def _has(*names: str) -> Callable[[View], bool]:
    return lambda view: all(_path(view.listing, name) for name in names)


def _has_groups(view: View) -> bool:
    return any(_NAME.match(entry.path.rpartition("/")[2]) for entry in view.listing.files)


def _read(view: View, name: str) -> tuple[str, str]:
    """A file's text, and its path for messages."""
    path = _path(view.listing, name)
    return label_files.read_text(objects.join(view.uri, path)), path


def _divided(view: View, files: dict[SplitName, str]) -> Found:
    """Clips by the lists of the authors. Raises DataError for a line of a class that classInd.txt does not name."""
    text, path = _read(view, "classInd.txt")
    names = {row["class"].casefold(): row["class"] for row in label_files.fields(text, path, ("number", "class"))}
    clips = Clips(view.listing)
    found: dict[SplitName, Gathered] = {split: Gathered() for split in files}
    for split, file in files.items():
        text, path = _read(view, file)
        for line, where in label_files.lines(text, path):
            listed = line.split()[0]
            folder, _, name = listed.rpartition("/")
            if folder.casefold() not in names:
                raise DataError(f"{where}: no class {folder!r} in classInd.txt: fetch the lists again")
            label = names[folder.casefold()]
            clip = clips.named(name.rpartition(".")[0])
            if clip is None:
                view.lacks(split, listed, f"missing: listed in {where}", label)
            else:
                add_clip(found[split], label, clip)
    return found


def _listed(view: View, files: dict[SplitName, str]) -> Found:
    return read_lists(view, {split: _path(view.listing, name) for split, name in files.items()})


def _grouped(view: View, number: int) -> Found:
    """Clips by their groups; the class is that of the directory, or of the name where all lie in one."""
    first = TEST_GROUPS * (number - 1) + 1
    found: dict[SplitName, Gathered] = {"train": Gathered(), "test": Gathered()}
    other = 0
    for clip in Clips(view.listing).all:
        said = _NAME.match(clip.stem)
        if said is None:
            other += 1
            continue
        folder = clip.path.rpartition("/")[0].rpartition("/")[2]
        label = folder if folder.casefold() == said[1].casefold() else said[1]
        add_clip(found["test" if first <= int(said[2]) < first + TEST_GROUPS else "train"], label, clip)
    view.note(f"no lists: the test clips are groups {first} to {first + TEST_GROUPS - 1}, as in published division {number}")
    if other:
        view.note(f"passed over {counted(other, 'clip')} whose names are none of UCF101")
    return found
