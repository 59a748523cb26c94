"""Lists of clips as training programs have them: a path, perhaps the number of frames, and the number of a class in each line.

Paths may hold blanks, so that lines are read from the right; they may be those of another machine, so that a clip is found by as much
of its path as there is here. The number of a class is its position among the sorted names, which are those of the directories that
clips lie in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from bilp.data import label_files
from bilp.data.contents import SplitName, counted
from bilp.data.listing import Listing
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import Found, View
from bilp.data.sources.video.clip_files import ClipFile, clips_below
from bilp.data.sources.video.clip_set import add_clip
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

MOST_FIELDS = 3
NUMBERED = "class "
"""How the name of a class begins that has a number alone."""


class Line(NamedTuple):
    """A clip as a list names it, the number of its class, and the file and line for messages."""

    path: str
    label: int
    where: str


class Clips:
    """The clips of a listing, found by their path, by the end of it, or by their name without suffix."""

    def __init__(self, listing: Listing) -> None:
        """All clips at any depth."""
        self.all = list(clips_below(listing, ""))
        self._by_path = {clip.path: clip for clip in self.all}
        self._by_stem: dict[str, list[ClipFile]] = defaultdict(list)
        for clip in self.all:
            self._by_stem[clip.stem.casefold()].append(clip)

    def named(self, stem: str) -> ClipFile | None:
        """The clip of this name, in any case, if there is just one."""
        found = self._by_stem.get(stem.casefold(), [])
        return found[0] if len(found) == 1 else None

    def at(self, path: str) -> ClipFile | None:
        """The clip whose path is this one or an end of it; else the only one of its name."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for start in range(len(parts)):
            if (found := self._by_path.get("/".join(parts[start:]))) is not None:
                return found
        ends = "/".join(parts[-2:])
        behind = [clip for clip in self._by_stem.get(_stem(parts[-1]).casefold(), []) if clip.path.endswith(f"/{ends}")] if parts else []
        return behind[0] if len(behind) == 1 else self.named(_stem(parts[-1])) if parts else None


def read_lists(view: View, lists: dict[SplitName, str]) -> Found:
    """The clips that lists name, by split, of which each is the path of a file below the view."""
    clips = Clips(view.listing)
    lines = {split: list(_lines(view, path, split)) for split, path in lists.items()}
    for split, path in lists.items():
        if not lines[split]:
            raise DataError(
                f"{view.where}: {shown(path)} names no clip: expected lines of a path and the number of a class, or a table with the "
                f"columns label, youtube_id, time_start and time_end; its first line is {_first_line(view, path)!r}"
            )
    names = _names([line for part in lines.values() for line in part])
    if any(name.startswith(NUMBERED) for name in names.values()):
        view.note("classes have numbers alone: the lists do not name one directory for each of them")
    found: dict[SplitName, Gathered] = {split: Gathered() for split in lines}
    for split, part in lines.items():
        for line in part:
            clip = clips.at(line.path)
            if clip is None:
                view.lacks(split, line.path, f"missing: listed in {line.where}", names[line.label])
            else:
                add_clip(found[split], names[line.label], clip)
    return found


def _lines(view: View, path: str, split: SplitName) -> Iterator[Line]:
    """The whole lines of a list; others are told of, and their clips are absent."""
    where = shown(path)
    text = label_files.read_text(objects.join(view.uri, path))
    bad = 0
    for line, here in label_files.lines(text, where):
        found = _parsed(line, here)
        if found is None:
            bad += 1
            view.lacks(split, line[:200], f"{here}: names no path and class")
        else:
            yield found
    if bad:
        view.note(f"{where}: {counted(bad, 'line')} without a path and the number of a class")


def _first_line(view: View, path: str) -> str:
    return shown(label_files.read_text(objects.join(view.uri, path)).partition("\n")[0].strip()[:80])


def _parsed(line: str, where: str) -> Line | None:
    """A line's path and class, the number of frames between them being passed over; None for a line that has not both."""
    separator = "," if "," in line and not line.rsplit(None, 1)[-1].isdigit() else None
    parts = [part.strip() for part in line.rsplit(separator or (None if " " in line or "\t" in line else ","), 1)]
    if len(parts) < MOST_FIELDS - 1 or not parts[-1].isdigit():
        return None
    path, before = parts[0], parts[0].rsplit(separator, 1)
    if len(before) > 1 and before[1].isdigit() and "." not in before[0].rpartition("/")[2]:
        path = before[0]  # a directory of frames, and how many these are
    return None if path.isdigit() else Line(path, int(parts[-1]), where)


def _names(lines: list[Line]) -> dict[int, str]:
    """The name of each class: that of the directory of its clips, if these are one to one, else its number."""
    folders: dict[int, set[str]] = defaultdict(set)
    for line in lines:
        folders[line.label].add(line.path.rstrip("/").rpartition("/")[0].rpartition("/")[2].replace("_", " "))
    found = {label: next(iter(names)) for label, names in folders.items() if len(names) == 1}
    if len(found) == len(folders) == len(set(found.values())) and "" not in found.values():
        return found
    digits = len(str(max(folders)))
    return {label: f"{NUMBERED}{label:0{digits}}" for label in folders}


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and suffix.isalnum() and len(suffix) <= 4 else name
