"""Something-Something V2: clips by number, and JSON files that say of each from which template its sentence was made: the class.

`label` is the sentence with what was filled in; the class is `template` without its brackets, as the file of labels has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bilp.data import label_files
from bilp.data.contents import SplitName
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import Found, Layout, View
from bilp.data.sources.video.clip_files import ClipFile, clips_below
from bilp.data.sources.video.clip_set import ClipSet, add_clip
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

PREFIX = "something-something-v2-"
FILES = {"labels": "labels.json", "train": "train.json", "test": "validation.json"}


class SomethingSomething(ClipSet):
    """Something-Something V2 with its files of labels; the validation clips are the test split, as nobody has labels of the other one."""

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The clips in any directory, and the files of labels under their long or short names."""
        looks = f"20bn-something-something-v2/*.webm (or videos/*.mp4) and {PREFIX}{{labels,train,validation}}.json or labels/*.json"
        return (Layout("published labels", looks, lambda view: all(_path(view, name) for name in FILES.values()), _labeled),)

    def order(self, found: Found) -> Sequence[str]:
        """In the order of their published numbers."""
        numbers = {_canonical(name): number for name, number in _labels(self._view).items()}
        return sorted(found["train"].classes, key=lambda name: numbers[_canonical(name)])


def _path(view: View, name: str) -> str:
    there = {entry.path.rpartition("/")[2]: entry.path for entry in view.listing.files}
    return there.get(f"{PREFIX}{name}") or there.get(name, "")


def _json(view: View, name: str) -> Any:
    path = _path(view, name)
    return label_files.json_value(objects.read(objects.join(view.uri, path), expected=True, most=label_files.LARGEST), shown(path))


def _labels(view: View) -> dict[str, int]:
    """The number of each class. Raises DataError for another form."""
    found = _json(view, FILES["labels"])
    if not isinstance(found, Mapping) or not all(str(number).isdecimal() for number in found.values()):
        raise DataError(f"{shown(_path(view, FILES['labels']))}: is no table of classes and their numbers: fetch the labels again")
    return {str(name): int(number) for name, number in found.items()}


def _canonical(template: str) -> str:
    return " ".join(template.replace("[", "").replace("]", "").casefold().split())


def _labeled(view: View) -> Found:
    names = {_canonical(name): name for name in _labels(view)}
    clips = {clip.stem: clip for clip in clips_below(view.listing, "")}
    found: dict[SplitName, Gathered] = {}
    for split in ("train", "test"):
        path = shown(_path(view, FILES[split]))
        found[split] = _of_entries(view, split, (_json(view, FILES[split]), path), clips, names)
    if _path(view, "test.json"):
        view.note("passed over the clips of the test split: they have no labels")
    return found


def _of_entries(view: View, split: SplitName, listed: tuple[Any, str], clips: Mapping[str, ClipFile], names: Mapping[str, str]) -> Gathered:
    """The clips of a split that its file lists. Raises DataError for an entry without a number or of an unknown class.

    Args:
        view: Is told of those that are missing.
        split: Of the file.
        listed: What is in the file, and its path.
        clips: By name.
        names: Of the classes, by their canonical form.
    """
    entries, path = listed
    if not isinstance(entries, list):
        raise DataError(f"{path}: is no list of clips: fetch the labels again")
    found = Gathered()
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping) or "id" not in entry or "template" not in entry:
            raise DataError(f"{path} entry {number:,}: has no id and template: fetch the labels again")
        label = names.get(_canonical(str(entry["template"])))
        if label is None:
            raise DataError(f"{path} entry {number:,}: {shown(str(entry['template']))!r} is none of the {len(names)} classes")
        clip = clips.get(str(entry["id"]))
        if clip is None:
            view.lacks(split, f"{shown(str(entry['id']))}.webm", f"missing: listed in {path} entry {number:,}", label)
        else:
            add_clip(found, label, clip)
    return found
