"""What is a clip among the files of a listing: a video file, or a directory of its frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from bilp.data.items import UNKNOWN
from bilp.data.listing import Listing

VIDEOS = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg")
FRAMES = (".jpg", ".jpeg", ".png")
_NUMBERS = re.compile(r"(\d+)")


class ClipFile(NamedTuple):
    """A video file or a directory of frames: its path below the source, its name without suffix, and its bytes, UNKNOWN of frames.

    Of a clip in a tar `path` is that of the tar, `offset` where its bytes begin, and `origin` what people are told of where it lies.
    """

    path: str
    stem: str
    size: int
    offset: int = 0
    origin: str = ""


def is_video(path: str) -> bool:
    """Whether a path ends as those of video files do."""
    return path.lower().endswith(VIDEOS)


def is_frame(path: str) -> bool:
    """Whether a path ends as those of pictures do that frames are stored as."""
    return path.lower().endswith(FRAMES)


def by_number(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names with numbers in them as people count: 2.jpg before 10.jpg."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in _NUMBERS.split(name)]


def clips_in(listing: Listing, folder: str) -> Iterator[ClipFile]:
    """The clips that lie directly in a directory."""
    for entry in listing.files_in(folder):
        if is_video(entry.path):
            name = entry.path.rpartition("/")[2]
            yield ClipFile(entry.path, name.rpartition(".")[0], entry.size)
    for name in listing.folders_in(folder):
        path = f"{folder}/{name}" if folder else name
        if any(is_frame(entry.path) for entry in listing.files_in(path)):
            yield ClipFile(path, name, UNKNOWN)


def clips_below(listing: Listing, folder: str) -> Iterator[ClipFile]:
    """The clips at any depth below a directory, sorted by path."""
    yield from clips_in(listing, folder)
    for name in listing.folders_in(folder):
        path = f"{folder}/{name}" if folder else name
        yield from clips_below(listing, path)


def holds_clips(listing: Listing, folder: str) -> bool:
    """Whether clips lie directly in a directory."""
    return next(clips_in(listing, folder), None) is not None
