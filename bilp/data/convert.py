"""Decode a source's stream of pictures into shards, in order, with bounded memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bilp.config.shapes import channels_of, frames_in, is_clip, sample_noun, side_of, with_channels
from bilp.data.clips.conversion import ClipConversion
from bilp.data.contents import Contents, Labels, Skipped, Source, SplitName, counted
from bilp.data.decode import Conversion, Depth, OutOfRange, Pixels
from bilp.data.opening import DecodeError
from bilp.data.pipeline import decoded
from bilp.data.shards import ShardWriter, Stored
from bilp.errors import DataError
from bilp.progress import Progress
from bilp.text.escaping import shown

THREADS = min(32, max(8, os.cpu_count() or 1))  # at least 8, because object storage is mostly waiting


@dataclass
class _Side:
    """A split while it is being written."""

    writer: ShardWriter
    labels: list[int] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


class Converter:
    """Writes the splits of a source, and keeps shape and color the same in all pictures of both."""

    def __init__(self, folder: Path, conversion: Conversion | ClipConversion) -> None:
        """Shards go to `folder`."""
        self._folder = folder
        self._conversion = conversion
        self._sides: dict[SplitName, _Side] = {}
        self._channels = 0
        self._first: tuple[tuple[int, ...], str] | None = None
        self.skipped: list[Skipped] = []
        self.depth = Depth()

    def run(self, source: Source, contents: Contents, progress: Progress) -> dict[SplitName, Stored]:
        """Convert everything that `source` holds. Pictures that cannot be read or decoded are collected in `skipped`.

        Raises DataError at the first two pictures of different size, unless there is a resolution to bring them to, and at
        the first of 16 bits whose values exceed the stated bits; StorageError if the source's storage is out of reach.
        """
        total = sum(len(labels) for labels in contents.labels.values())
        done = 0
        for split, items in contents.items.items():
            side = self._sides[split] = _Side(ShardWriter(self._folder, split))
            position = 0
            for origins, found in decoded(source.groups(items), self._conversion, self.depth, THREADS):
                end = position + len(found)
                self._add(split, range(position, end), items.labels[position:end], origins, found)
                position, done = end, done + len(found)
                del found  # or the next ones would be decoded beside them
                progress(done, total, "decoding")
            side.writer.close()  # the next split's shard is not held beside the rest of this one's
        return {split: self._finish(side) for split, side in self._sides.items()}

    def _add(
        self, split: SplitName, places: Sequence[int], labels: Labels, origins: Sequence[str], decoded: Sequence[Pixels | DecodeError]
    ) -> None:
        side = self._sides[split]
        for place, label, name, pixels in zip(places, labels.tolist(), origins, decoded, strict=True):
            origin = shown(name)  # names of files may hold bytes that are no text
            if isinstance(pixels, OutOfRange):  # a wrong setting, not a bad file: skipping would quietly take a part of the range
                raise DataError(f"{origin} {pixels}")
            if isinstance(pixels, DecodeError):
                self.skipped.append(Skipped(split, origin, str(pixels), label))
                continue
            self._check_size(pixels, origin)
            side.labels.append(label)
            side.origins.append(origin)
            side.places.append(place)
            self._unite_color(channels_of(pixels.shape), side)
            side.writer.append(np.broadcast_to(pixels, with_channels(pixels.shape, self._channels))[None])

    def _check_size(self, pixels: Pixels, origin: str) -> None:
        if self._first is None:
            self._first = (pixels.shape, origin)
        check_same_size(*self._first, pixels.shape, origin)

    def _unite_color(self, channels: int, current: _Side) -> None:
        """A set is gray only as long as every picture is; the first color picture turns what is stored into RGB."""
        if self._channels == 1 and channels == 3:
            for side in self._sides.values():
                side.writer.widen()
                if side is not current:
                    side.writer.close()
        self._channels = max(self._channels, channels)

    def _finish(self, side: _Side) -> Stored:
        paths = side.writer.close()
        labels, places = (np.asarray(numbers, dtype=np.int64) for numbers in (side.labels, side.places))
        return Stored(side.writer.shape or (0, 0, 0), paths, side.writer.rows, labels, side.origins, places)


def check_same_size(shape: Sequence[int], first: str, other: Sequence[int], origin: str) -> None:
    """Raise DataError unless two samples, which come from `first` and `origin`, have the same frames, height and width; their colors
    may differ."""
    if is_clip(shape) != is_clip(other) or frames_in(shape) != frames_in(other):
        raise DataError(f"clips differ in length: {first} has {frames_in(shape)} frames, {origin} has {frames_in(other)}: cut them alike")
    if side_of(shape) != side_of(other):
        (height, width), (tall, wide) = side_of(shape), side_of(other)
        raise DataError(
            f"{sample_noun(shape)}s differ in size: {first} is {width} x {height}, {origin} is {wide} x {tall} (width x height): "
            "set ingest.resolution to the side in pixels that all are brought to"
        )


def refuse(skipped: Sequence[Skipped], where: str, missing: int = 0, most: int = 10) -> None:
    """Raise DataError listing the pictures that cannot be used, if there are any, of which so many are missing: each reason once."""
    if not skipped:
        return
    origins: dict[str, list[str]] = {}
    for entry in skipped[:most]:
        origins.setdefault(entry.reason, []).append(entry.origin)
    found = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in origins.items())
    more = f"; and {len(skipped) - most} more" if len(skipped) > most else ""
    problem = f"{where}: {counted(len(skipped), 'image')} cannot be used"
    remedy = "fetch them" if missing == len(skipped) else "repair, fetch or remove them" if missing else "repair or remove them"
    raise DataError(f"{problem} ({found}{more}): {remedy}, or set ingest.on_corrupt to skip")
