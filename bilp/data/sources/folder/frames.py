"""Whether a folder is one of clips as they are exported, whose frames would be taken for images."""

from __future__ import annotations

from typing import NamedTuple

from bilp.config.exports import clip_name, frame_name
from bilp.data.listing import Listing

LEAST = 2
"""Frames of what is surely a clip."""


class Exported(NamedTuple):
    """Clips as `bilp export` writes them."""

    clip: str
    """The directory of the first one."""
    frames: int
    """Of each."""


def exported_clips(listing: Listing) -> Exported | None:
    """The clips, if each directory with files holds nothing but the numbered frames of one, equally many, and directories of clips are
    numbered in those of their classes; else None, which the first directory tells of most data sets."""
    first: Exported | None = None
    clips: dict[str, set[str]] = {}
    folders = [folder for folder in listing.folders if listing.files_in(folder)]
    if listing.files_in("") or not folders:
        return None
    for folder in folders:
        of_class, _, name = folder.rpartition("/")
        found = {entry.path.rpartition("/")[2] for entry in listing.files_in(folder)}
        first = first or Exported(folder, len(found))
        numbered = len(found) >= LEAST and found == {frame_name(number) for number in range(len(found))}
        if not of_class or not numbered or listing.folders_in(folder) or len(found) != first.frames:
            return None
        clips.setdefault(of_class, set()).add(name)
    return first if all(names == {clip_name(number) for number in range(len(names))} for names in clips.values()) else None
