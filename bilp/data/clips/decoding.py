"""Read and decode a stream of clips, in order, with bounded memory: as `bilp.data.pipeline` for pictures, in processes.

Threads read clips and hand them to processes that decode (`bilp.data.clips.decoder`), one for each core. A thread waits for its
storage without a process, and for a process with one clip in its hands.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import LifoQueue

import numpy as np

from bilp.data.clips.conversion import ClipConversion
from bilp.data.clips.decoder import SECONDS, Decoder
from bilp.data.contents import Group
from bilp.data.decode import Depth, Pixels
from bilp.data.opening import DecodeError, check_file
from bilp.data.reading import read_picture

READ_BYTES = 2**28
"""Files of clips that are held together, unless a single one has more."""
AHEAD = 4
"""Threads that read while the others wait for a process."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoded_clips(
    groups: Iterator[Group], conversion: ClipConversion, depth: Depth, processes: int = 0, seconds: float = SECONDS
) -> Iterator[tuple[Sequence[str], Sequence[Pixels | DecodeError]]]:
    """The clips of all groups, in order: their origins, and uint8 [T, C, H, W] of each or why there is none.

    Raises StorageError if the source's storage is out of reach, and DataError if there is too little memory.

    Args:
        groups: Of clips, each with a function that returns its file or bundle (`bilp.data.clips.bundle`).
        conversion: Which frames are taken, and what becomes of them.
        depth: Is told of clips with too few frames.
        processes: How many decode; 0 stands for one per core.
        seconds: A clip that takes longer, twice, counts as one that cannot be decoded.
    """
    processes = processes or cores()
    decoders = [Decoder(conversion, seconds) for _ in range(processes)]
    idle: LifoQueue[Decoder] = LifoQueue()  # the last one used is used again, so that no more are started than are needed
    for decoder in decoders:
        idle.put(decoder)
    most = 2 * (processes + AHEAD)
    waiting: deque[tuple[Group, list[Future[Pixels | DecodeError]]]] = deque()
    pool = ThreadPoolExecutor(processes + AHEAD)
    try:
        for group in groups:
            while waiting and not _room(waiting, group, most):
                yield _first(waiting)
            draws = group.draws or [0] * len(group.images)
            sizes = group.sizes or [0] * len(group.images)
            jobs = zip(_readers(group), sizes, draws, strict=True)
            waiting.append((group, [pool.submit(_decode, read, size, draw, idle, conversion, depth) for read, size, draw in jobs]))
        while waiting:
            yield _first(waiting)
    finally:  # after an error nobody wants the rest
        for _, futures in waiting:
            for future in futures:
                future.cancel()
        for decoder in decoders:
            decoder.stop()
        pool.shutdown()
        for decoder in decoders:
            decoder.close()


def _readers(group: Group) -> Sequence[Callable[[], bytes]]:
    if isinstance(group.images, np.ndarray):
        raise TypeError("clips come as files, not as pixels")
    return group.images


def _room(waiting: deque[tuple[Group, list[Future[Pixels | DecodeError]]]], group: Group, most: int) -> bool:
    """Whether another group may be read beside those that wait."""
    held = sum(sum(other.sizes) for other, _ in waiting) + sum(group.sizes)
    return held <= READ_BYTES and sum(len(futures) for _, futures in waiting) < most


def _first(waiting: deque[tuple[Group, list[Future[Pixels | DecodeError]]]]) -> tuple[Sequence[str], Sequence[Pixels | DecodeError]]:
    group, futures = waiting[0]
    found = [future.result() for future in futures]
    waiting.popleft()  # only now: after an error its futures are to be cancelled, too
    return group.origins, found


def _decode(
    read: Callable[[], bytes], size: int, draw: int, idle: LifoQueue[Decoder], conversion: ClipConversion, depth: Depth
) -> Pixels | DecodeError:
    """One clip, read and then decoded by a process that has nothing else to do."""
    try:
        check_file(size, conversion.size.max_pixels)
        data = read_picture(read)
        check_file(len(data), conversion.size.max_pixels)
        if not data:
            return DecodeError("empty file")
        decoder = idle.get()
        try:
            clip = decoder.decode(data, draw)
        finally:
            idle.put(decoder)
    except DecodeError as error:
        return error
    if clip.short:
        depth.report_short()
    return clip.pixels
