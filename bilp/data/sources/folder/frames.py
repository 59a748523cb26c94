"""Whether an image folder is one of clips as they are exported, whose frames would be taken for images."""

from __future__ import annotations

from collections.abc import Iterable

from bilp.config.exports import frame_name
from bilp.data.sources.folder.tree import Tree, below

LEAST = 2
"""Frames of what is surely a clip."""


def exported_frames(tree: Tree, classes: Iterable[str]) -> tuple[str, int] | None:
    """The first directory of frames and how many each holds, where all of these directories of classes hold nothing but directories with
    the frames of one clip each, named and numbered as `bilp export` does and equally many; else None."""
    first: tuple[str, int] | None = None
    for path in classes:
        names = tree.folders(path)
        if not names or tree.listing.files_in(path):
            return None
        for name in names:
            clip = below(path, name)
            found = [entry.path.rpartition("/")[2] for entry in tree.listing.files_in(clip)]
            first = first or (clip, len(found))
            numbered = len(found) >= LEAST and set(found) == {frame_name(number) for number in range(len(found))}
            if tree.listing.folders_in(clip) or not numbered or len(found) != first[1]:
                return None
    return first
