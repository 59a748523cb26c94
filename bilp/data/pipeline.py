"""Read and decode a stream of pictures in threads, in order, with bounded memory.

Bounded are the bytes that pictures take from the moment they are decoded until they have been taken over, as their headers tell
them, and those of encoded pictures that were read ahead. The thread that takes pictures over also admits them, in their order: so
whatever it waits for was admitted before, and nothing can wait for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bilp.allocator import return_freed_memory
from bilp.data.clips.conversion import ClipConversion
from bilp.data.clips.decoding import decoded_clips
from bilp.data.contents import CLIP_DIMENSIONS, Group
from bilp.data.decode import Conversion, Depth, Pixels, decode, from_array, required_bytes, working_bytes
from bilp.data.footprint import DECODING_BYTES
from bilp.data.opening import DecodeError, check_file
from bilp.data.reading import read_picture
from bilp.errors import DataError
from bilp.text.escaping import shown

READING_BYTES = 2**25
"""Encoded pictures that are read ahead together, unless a single group has more."""
RUN_BYTES = 2**25
"""Pictures that one call of a thread decodes take no more together, unless it is a single one."""

Decoded = tuple[Sequence[str], Sequence[Pixels | DecodeError]]
"""Origins of consecutive pictures, and the pixels of each or why there are none."""


@dataclass(frozen=True)
class _Admissible:
    """An encoded picture, or pixels [H, W] or [H, W, 3], or [T, H, W, C] of a clip, if its source has them, and the bytes that decoding
    it takes."""

    content: bytes | Pixels
    needed: int


_Read = Sequence[_Admissible | DecodeError]


def decoded(groups: Iterator[Group], conversion: Conversion | ClipConversion, depth: Depth, threads: int) -> Iterator[Decoded]:
    """The pictures or clips of all groups, in order.

    Raises StorageError if the source's storage is out of reach, and DataError if there is less memory than the limits allow.
    """
    if isinstance(conversion, ClipConversion):
        return decoded_clips(groups, conversion, depth)
    return _decoded_pictures(groups, conversion, depth, threads)


def _decoded_pictures(groups: Iterator[Group], conversion: Conversion, depth: Depth, threads: int) -> Iterator[Decoded]:
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Sequence[str], int, Future[list[Pixels | DecodeError]]]] = deque()
        held = 0
        try:
            for origins, part in _runs(_read_ahead(pool, groups, conversion, threads + 2)):
                needed = sum(item.needed for item in part if isinstance(item, _Admissible))
                while waiting and (held + needed > DECODING_BYTES or len(waiting) > threads + 2):
                    yield waiting[0][0], waiting[0][2].result()
                    held -= waiting.popleft()[1]
                waiting.append((origins, needed, pool.submit(_decode, origins, part, conversion, depth)))
                held += needed
            while waiting:
                yield waiting[0][0], waiting[0][2].result()
                waiting.popleft()
        finally:  # after an error nobody wants the rest
            for _, _, decoding in waiting:
                decoding.cancel()


def _read_ahead(pool: ThreadPoolExecutor, groups: Iterator[Group], conversion: Conversion, most: int) -> Iterator[tuple[Group, _Read]]:
    """The groups with what was read of them, at most so many ahead."""
    waiting: deque[tuple[Group, Future[_Read]]] = deque()
    held = 0
    try:
        for group in groups:
            while waiting and (held + sum(group.sizes) > READING_BYTES or len(waiting) > most):
                first, reading = waiting.popleft()
                held -= sum(first.sizes)
                yield first, reading.result()
            waiting.append((group, pool.submit(_read, group, conversion)))
            held += sum(group.sizes)
        while waiting:
            first, reading = waiting.popleft()
            yield first, reading.result()
    finally:
        for _, reading in waiting:
            reading.cancel()


def _runs(groups: Iterator[tuple[Group, _Read]]) -> Iterator[tuple[Sequence[str], _Read]]:
    """Each group cut into pictures that one call decodes: their origins, and what was read of them."""
    for group, items in groups:
        start = total = 0
        for position, item in enumerate(items):
            needed = item.needed if isinstance(item, _Admissible) else 0
            if position > start and total + needed > RUN_BYTES:
                yield group.origins[start:position], items[start:position]
                start, total = position, 0
            total += needed
        yield group.origins[start:], items[start:]


def _read(group: Group, conversion: Conversion) -> _Read:
    if isinstance(group.images, np.ndarray):
        frames, (height, width) = (group.images.shape[1], group.images.shape[2:4]) if group.of_clips else (1, group.images.shape[1:3])
        needed = 4 * frames * height * width + working_bytes((width, height), conversion)
        return [_Admissible(pixels, needed) for pixels in group.images]
    sizes = group.sizes or [0] * len(group.images)
    return [_read_one(read, size, conversion) for read, size in zip(group.images, sizes, strict=True)]


def _read_one(read: Callable[[], bytes], size: int, conversion: Conversion) -> _Admissible | DecodeError:
    try:
        check_file(size, conversion.max_pixels)
        data = read_picture(read)
        check_file(len(data), conversion.max_pixels)
        return _Admissible(data, required_bytes(data, conversion))
    except DecodeError as error:
        return error


def _decode(origins: Sequence[str], items: _Read, conversion: Conversion, depth: Depth) -> list[Pixels | DecodeError]:
    found = [_decode_one(origin, item, conversion, depth) for origin, item in zip(origins, items, strict=True)]
    if sum(item.needed for item in items if isinstance(item, _Admissible)) > RUN_BYTES:
        return_freed_memory()
    return found


def _decode_one(origin: str, item: _Admissible | DecodeError, conversion: Conversion, depth: Depth) -> Pixels | DecodeError:
    if isinstance(item, DecodeError):
        return item
    try:
        if isinstance(item.content, bytes):
            return decode(item.content, conversion, depth)
        return _from_pixels(item.content, conversion)
    except DecodeError as error:
        return error
    except MemoryError as error:  # no fault of the file: skipping would leave out what another machine takes
        raise DataError(
            f"{shown(origin)}: not enough memory to decode it ({item.needed:,} bytes): free some, or set ingest.max_pixels lower"
        ) from error


def _from_pixels(pixels: Pixels, conversion: Conversion) -> Pixels:
    if pixels.ndim == CLIP_DIMENSIONS:
        return np.stack([_from_pixels(frame[..., 0] if frame.shape[2] == 1 else frame, conversion) for frame in pixels])
    gray = pixels.ndim == 2
    if conversion.resolution is None and conversion.color in ("auto", "gray" if gray else "rgb"):
        return pixels[None] if gray else pixels.transpose(2, 0, 1)
    return from_array(np.ascontiguousarray(pixels), conversion)
