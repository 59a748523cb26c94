"""Decode a source's stream of pictures into shards, in order, with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bilp.data.contents import Contents, Group, Labels, SplitName, counted
from bilp.data.decode import Conversion, DecodeError, Depth, OutOfRange, Pixels, decode, from_array
from bilp.data.names import shown
from bilp.data.reading import read_picture
from bilp.data.shards import ShardWriter, Stored
from bilp.errors import DataError
from bilp.progress import Progress

THREADS = min(32, max(8, os.cpu_count() or 1))  # at least 8, because object storage is mostly waiting


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read or decoded: the source's split, where it came from, and why."""

    split: SplitName
    origin: str
    reason: str


@dataclass
class _Side:
    """A split while it is being written."""

    writer: ShardWriter
    labels: list[int] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)


class Converter:
    """Writes the splits of a source, and keeps shape and colour the same in all pictures of both."""

    def __init__(self, folder: Path, conversion: Conversion) -> None:
        """Shards go to `folder`."""
        self._folder = folder
        self._conversion = conversion
        self._sides: dict[SplitName, _Side] = {}
        self._channels = 0
        self._first: tuple[tuple[int, ...], str] | None = None
        self.skipped: list[Skipped] = []
        self.depth = Depth()

    def run(self, contents: Contents, progress: Progress) -> dict[SplitName, Stored]:
        """Convert everything. Pictures that cannot be read or decoded are collected in `skipped`.

        Raises DataError at the first two pictures of different size, unless there is a resolution to bring them to, and at
        the first of 16 bits whose values exceed the stated bits; StorageError if the source's storage is out of reach.
        """
        total = sum(len(labels) for labels in contents.labels.values())
        done = 0
        with ThreadPoolExecutor(THREADS) as pool:
            for split, labels in contents.labels.items():
                self._sides[split] = _Side(ShardWriter(self._folder, split))
                position = 0
                for group, decoded in _in_order(pool, contents.groups(split), self._conversion, self.depth):
                    end = position + len(decoded)
                    self._add(split, labels[position:end], group.origins, decoded)
                    position, done = end, done + len(decoded)
                    progress(done, total, "decoding")
        return {split: self._finish(side) for split, side in self._sides.items()}

    def _add(self, split: SplitName, labels: Labels, origins: Sequence[str], decoded: Sequence[Pixels | DecodeError]) -> None:
        side, kept = self._sides[split], []
        for label, name, pixels in zip(labels.tolist(), origins, decoded, strict=True):
            origin = shown(name)  # names of files may hold bytes that are no text
            if isinstance(pixels, OutOfRange):  # a wrong setting, not a bad file: skipping would quietly take a part of the range
                raise DataError(f"{origin} {pixels}")
            if isinstance(pixels, DecodeError):
                self.skipped.append(Skipped(split, origin, str(pixels)))
                continue
            self._check_size(pixels, origin)
            kept.append(pixels)
            side.labels.append(label)
            side.origins.append(origin)
        if kept:
            self._unite_colour(kept)
            side.writer.append(np.stack([self._coloured(pixels) for pixels in kept]))

    def _check_size(self, pixels: Pixels, origin: str) -> None:
        if self._first is None:
            self._first = (pixels.shape[1:], origin)
        (height, width), first = self._first
        if pixels.shape[1:] != (height, width):
            here = f"{pixels.shape[2]} x {pixels.shape[1]}"
            raise DataError(
                f"images differ in size: {first} is {width} x {height}, {origin} is {here} (width x height): "
                "set ingest.resolution to the side in pixels that all are brought to"
            )

    def _unite_colour(self, images: Sequence[Pixels]) -> None:
        """A set is grey only as long as every picture is; the first colour picture turns what is stored into RGB."""
        channels = max([self._channels, *(len(pixels) for pixels in images)])
        if self._channels == 1 and channels == 3:
            for side in self._sides.values():
                side.writer.widen()
        self._channels = channels

    def _coloured(self, pixels: Pixels) -> Pixels:
        return np.repeat(pixels, 3, axis=0) if len(pixels) < self._channels else pixels

    def _finish(self, side: _Side) -> Stored:
        paths = side.writer.close()
        return Stored(side.writer.shape or (0, 0, 0), paths, side.writer.rows, np.asarray(side.labels, dtype=np.int64), side.origins)


def refuse(skipped: Sequence[Skipped], where: str, most: int = 10) -> None:
    """Raise DataError listing the pictures that cannot be read or decoded, if there are any."""
    if not skipped:
        return
    found = "; ".join(f"{entry.origin}: {entry.reason}" for entry in skipped[:most])
    more = f"; and {len(skipped) - most} more" if len(skipped) > most else ""
    problem = f"{where}: {counted(len(skipped), 'image')} cannot be decoded"
    raise DataError(f"{problem} ({found}{more}): repair or remove them, or set ingest.on_corrupt to skip")


def _in_order(
    pool: ThreadPoolExecutor, groups: Iterator[Group], conversion: Conversion, depth: Depth
) -> Iterator[tuple[Group, Sequence[Pixels | DecodeError]]]:
    """Decode groups in threads, a bounded number ahead, and hand them out in the order they came."""
    waiting: deque[tuple[Group, Future[list[Pixels | DecodeError]]]] = deque()
    try:
        for group in groups:
            waiting.append((group, pool.submit(_decode_group, group, conversion, depth)))
            if len(waiting) > THREADS + 2:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:  # after an error nobody wants the rest
        for _, future in waiting:
            future.cancel()


def _decode_group(group: Group, conversion: Conversion, depth: Depth) -> list[Pixels | DecodeError]:
    if isinstance(group.images, np.ndarray):
        return _from_arrays(group.images, conversion)
    results: list[Pixels | DecodeError] = []
    for read in group.images:
        try:
            results.append(decode(read_picture(read), conversion, depth))
        except DecodeError as error:
            results.append(error)
    return results


def _from_arrays(images: NDArray[np.uint8], conversion: Conversion) -> list[Pixels | DecodeError]:
    grey = images.ndim == 3
    if conversion.resolution is None and conversion.colour in ("auto", "grey" if grey else "rgb"):
        return list(images[:, None] if grey else images.transpose(0, 3, 1, 2))
    return [from_array(np.ascontiguousarray(pixels), conversion) for pixels in images]
