"""Kinetics-400: clips of YouTube named <id>_<start>_<end>, of which every copy lacks some.

Classes are the sorted labels; some copies write them with underscores in place of blanks. What annotations list and a copy does not hold
is told and counted, what lies there and is in no annotation is passed over. A clip in `replacement/` stands for the damaged one of the
same id. The test split of the papers is the validation split: labels of the other one were long kept back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bilp.data import label_files
from bilp.data.contents import SplitName, counted
from bilp.data.listing import Listing
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import Found, Layout, View
from bilp.data.sources.shard_samples import shards_by_role
from bilp.data.sources.video.clip_files import ClipFile, clips_in, holds_clips
from bilp.data.sources.video.clip_set import ClipSet, add_clip
from bilp.data.sources.video.clip_shards import clips_of_shards
from bilp.data.sources.video.clip_tars import clips_in_tars, tars
from bilp.data.sources.video.lists import read_lists
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train", "videos_train", "rawframes_train", "train_256", "videos_train_256"),
    "test": ("val", "validate", "validation", "videos_val", "rawframes_val", "val_256", "videos_val_256"),
}
TABLES: dict[SplitName, tuple[str, ...]] = {"train": ("train.csv",), "test": ("val.csv", "validate.csv", "validation.csv")}
LISTS: dict[SplitName, tuple[str, ...]] = {
    "train": ("kinetics400_train_list_videos.txt", "kinetics400_train_list_rawframes.txt", "train.csv"),
    "test": ("kinetics400_val_list_videos.txt", "kinetics400_val_list_rawframes.txt", "val.csv"),
}
PLACES = ("", "annotations")
"""Where tables and lists lie."""
REPLACEMENT = "replacement"
COLUMNS = ("label", "youtube_id", "time_start", "time_end")
KINDS: dict[SplitName, str] = {"train": "training", "test": "validation"}
ID = 11
"""Characters of an id of YouTube."""


class Kinetics(ClipSet):
    """Kinetics-400 as it is distributed, in directories of classes, or with the lists of training programs."""

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """Directories of classes, annotations over one directory or tars for each split, lists, and webdatasets."""
        return (
            Layout("class folders", "train/<class>/*.mp4 and val/<class>/", _has_class_folders, _class_folders),
            Layout("tars", "train/*.tar.gz and val/*.tar.gz of clips, and annotations/{train,val}.csv", _has_tars, _annotated),
            Layout("annotations", "train/*.mp4, val/*.mp4 and annotations/{train,val}.csv", _has_tables, _annotated),
            Layout("lists", "kinetics400_{train,val}_list_videos.txt, or {train,val}.csv of path and class", _has_lists, _listed),
            Layout("webdataset", "train-000000.tar, val-000000.tar of <key>.mp4 with <key>.cls or <key>.json", _has_shards, _sharded),
        )

    def miss(self, view: View) -> str:
        """Files and directories of one split alone."""
        return _near_miss(view)


def _near_miss(view: View) -> str:
    """What one split has and the other one lacks."""
    for what, names in (("table of labels", TABLES), ("list", LISTS)):
        there = {split: _file(view.listing, some) for split, some in names.items()}
        if (lacking := _lacking(there)) is not None:
            beside = next(filter(None, there.values()))
            return f"{shown(beside)} is there, and no {what} of the {KINDS[lacking]} clips: put {names[lacking][0]} beside it"
    sides = {split: "".join(_folders(view.listing, split)[:1]) for split in FOLDERS}
    if (lacking := _lacking(sides)) is not None:
        beside = next(filter(None, sides.values()))
        return f"{shown(beside)}/ is there, and no directory of the {KINDS[lacking]} clips: put {FOLDERS[lacking][0]}/ beside it"
    return ""


def _lacking(there: Mapping[SplitName, str]) -> SplitName | None:
    """The split that has nothing where the other one has something."""
    empty = [split for split, found in there.items() if not found]
    return empty[0] if len(empty) == 1 else None


def spoken(label: str) -> str:
    """A label as the annotations write it."""
    return label.strip().replace("_", " ")


def _folders(listing: Listing, split: SplitName) -> list[str]:
    return [name for name in FOLDERS[split] if name in listing.folders]


def _has_class_folders(view: View) -> bool:
    sides = [_folders(view.listing, split) for split in FOLDERS]
    if not all(sides):
        return False
    return any(holds_clips(view.listing, f"{sides[0][0]}/{name}") for name in view.listing.folders_in(sides[0][0]))


def _class_folders(view: View) -> Found:
    found: dict[SplitName, Gathered] = {split: Gathered() for split in FOLDERS}
    for split, gathered in found.items():
        folder = _folders(view.listing, split)[0]
        for name in view.listing.folders_in(folder):
            for clip in clips_in(view.listing, f"{folder}/{name}"):
                add_clip(gathered, spoken(name), clip)
    return found


def _file(listing: Listing, names: Iterable[str]) -> str:
    """The first of these files that is there, directly or among annotations; '' if none is."""
    there = {entry.path for place in PLACES for entry in listing.files_in(place)}
    paths = [f"{place}/{name}" if place else name for name in names for place in PLACES]
    return next((path for path in paths if path in there), "")


def _header(view: View, path: str) -> str:
    text = label_files.read_text(objects.join(view.uri, path)) if path else ""
    return text.partition("\n")[0]


def _is_table(view: View, path: str) -> bool:
    return "youtube_id" in _header(view, path)


def _has_tables(view: View) -> bool:
    return all(_is_table(view, _file(view.listing, names)) and _folders(view.listing, split) for split, names in TABLES.items())


def _has_tars(view: View) -> bool:
    """Whether the training clips lie in tars alone."""
    if not _has_tables(view):
        return False
    folder = _folders(view.listing, "train")[0]
    return bool(tars(view.listing.files_in(folder))) and not holds_clips(view.listing, folder)


def _annotated(view: View) -> Found:
    replacements = [folder for folder in view.listing.folders if folder.split("/")[0] == REPLACEMENT]
    packed = [entry for entry in tars(view.listing.files) if entry.path.startswith(REPLACEMENT)]
    replaced = _by_name([*clips_in_tars(view, packed), *(clip for folder in replacements for clip in clips_in(view.listing, folder))])
    found: dict[SplitName, Gathered] = {}
    for split, names in TABLES.items():
        folder = _folders(view.listing, split)[0]
        clips = list(clips_in(view.listing, folder)) or list(clips_in_tars(view, tars(view.listing.files_in(folder))))
        found[split] = _of_table(view, split, _file(view.listing, names), clips, replaced)
    return found


def _by_name(clips: Sequence[ClipFile]) -> dict[str, ClipFile]:
    """Clips by their names, and by their ids where the times in names are other ones."""
    found: dict[str, ClipFile] = {}
    for clip in clips:
        found[clip.stem] = clip
        found.setdefault(clip.stem[:ID], clip)
    return found


def _of_table(view: View, split: SplitName, path: str, clips: Sequence[ClipFile], replaced: dict[str, ClipFile]) -> Gathered:
    """The clips of a split that its table lists.

    Args:
        view: Is told of those that are missing, and of clips that are not listed.
        split: Of the table.
        path: The table's.
        clips: Those of the split's directory.
        replaced: By name and id, clips that stand for damaged ones.
    """
    found, there, used = list[tuple[ClipFile, str, str]](), _by_name(clips), set()
    for row in label_files.table(label_files.read_text(objects.join(view.uri, path)), path, COLUMNS):
        video = row["youtube_id"]
        stem = f"{video}_{row.number('time_start'):06}_{row.number('time_end'):06}"
        own = there.get(stem) or there.get(video[:ID])
        clip = replaced.get(stem) or replaced.get(video[:ID]) or own
        if own is not None:
            used.add((own.path, own.offset))
        if clip is None:
            view.lacks(split, f"{stem}.mp4", f"missing: listed in {row.where}", spoken(row["label"]))
        else:
            found.append((clip, spoken(row["label"]), stem))
    if len(used) < len(clips):
        view.note(f"passed over {counted(len(clips) - len(used), 'clip')} of {split} that {path} does not list")
    if any(clip.origin for clip, _, _ in found):  # tars are read from front to back
        found.sort(key=lambda each: (each[0].path, each[0].offset))
    gathered = Gathered()
    for clip, label, stem in found:
        add_clip(gathered, label, clip, stem)
    return gathered


def _has_lists(view: View) -> bool:
    found = [_file(view.listing, names) for names in LISTS.values()]
    return all(path and not _is_table(view, path) for path in found)


def _listed(view: View) -> Found:
    return read_lists(view, {split: _file(view.listing, names) for split, names in LISTS.items()})


def _has_shards(view: View) -> bool:
    return bool(shards_by_role(view).get("train"))


def _sharded(view: View) -> Found:
    """Clips of shards. Raises DataError if no training clip has a class."""
    found = clips_of_shards(view, _class)
    if not len(found["train"]):
        told = f": {view.absent[0][1].origin}: {view.absent[0][1].reason}" if view.absent else ""
        remedy = (
            "give tars of clips"
            if told and view.absent[0][1].reason.startswith("holds an image")
            else "put annotations/{train,val}.csv beside them"
        )
        raise DataError(f"{view.where}: no clip of the training tars has a class{told}: {remedy}")
    return found


def _class(label: str) -> str:
    """A class by its name, or by its number where shards say no more."""
    return f"class {int(label):03}" if label.isdecimal() else spoken(label)
