"""Reading the items of a set of clips: whole video files, also within tars, and of directories of frames those that are taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import islice

from bilp.config import IngestConfig
from bilp.data.clips.bundle import bundled
from bilp.data.clips.conversion import ClipConversion, chooser
from bilp.data.clips.from_settings import clip_conversion_of
from bilp.data.clips.sampling import Timeline
from bilp.data.contents import Group, cut
from bilp.data.items import Items
from bilp.data.listing import problem_of
from bilp.data.opening import DecodeError
from bilp.data.sources.stored_groups import members, runs
from bilp.data.sources.video.clip_files import by_number, is_frame, is_video
from bilp.data.tar import is_tar
from bilp.seeds import stream_seed
from bilp.storage import objects

_TIMES = re.compile(r"_(\d{6})_(\d{6})$")
"""How names of clips end that say from which second to which they were cut."""


def clip_groups(uri: str, items: Items, config: IngestConfig) -> Iterator[Group]:
    """The items of a source below `uri`, each with a function that returns its file, or a bundle of the frames that are taken."""
    conversion = clip_conversion_of(config)
    assert conversion is not None  # a source of clips says how many frames it takes
    names = _named(items) if items.stems is None else items.stems.to_pylist()
    draws = [stream_seed(config.split_seed, "window", name, max(0, row)) for name, row in zip(names, items.row.tolist(), strict=True)]
    for start, stop, within in runs(items):
        part = items.slice(start, stop)
        waiting = iter(draws[start:stop])
        for group in members(uri, part) if within else _files(uri, part, conversion, draws[start:stop]):
            yield replace(group, draws=list(islice(waiting, len(group.images))))


def _named(items: Items) -> list[str]:
    """The path of each clip, within a tar also that of the member."""
    return [origin if is_tar(path) else path for path, origin in zip(items.paths(), items.told(), strict=True)]


def _files(uri: str, items: Items, conversion: ClipConversion, draws: Sequence[int]) -> Iterator[Group]:
    """Clips that are files, or directories of frames, of their own."""
    paths, told, sizes = items.paths(), items.told(), items.length.tolist()
    readers: list[Callable[[], bytes]] = [
        partial(_file, uri, path, size) if is_video(path) else partial(_frames, uri, path, conversion, draw)
        for path, size, draw in zip(paths, sizes, draws, strict=True)
    ]
    for start, stop in cut(sizes):
        yield Group(told[start:stop], readers[start:stop], [max(0, size) for size in sizes[start:stop]])


def _file(uri: str, path: str, size: int) -> bytes:
    """The bytes of a video file; raises DecodeError if it cannot have any."""
    if size == 0:
        raise DecodeError(problem_of(uri, path) or "empty file")
    return objects.read(objects.join(uri, path), expected=True)


def _frames(uri: str, folder: str, conversion: ClipConversion, draw: int) -> bytes:
    """A bundle of those frames of a directory that are taken, in the order of their numbers."""
    place = objects.join(uri, folder)
    names = sorted((name for name in objects.objects(place) if "/" not in name and is_frame(name)), key=by_number)
    if not names:
        raise DecodeError("holds no frames")
    times = _TIMES.search(folder)
    seconds = int(times[2]) - int(times[1]) if times else 0
    timeline = Timeline.of_count(len(names), Fraction(len(names), seconds) if seconds > 0 else None)
    taken = chooser(conversion, draw)(timeline).tolist()
    encoded = {position: objects.read(objects.join(place, names[position]), expected=True) for position in sorted(set(taken))}
    return bundled(encoded[position] for position in taken)
