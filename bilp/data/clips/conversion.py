"""What every clip of a set is turned into, and one clip turned into that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image

from bilp.data.clips.bundle import frames_in, is_bundle
from bilp.data.clips.frame_size import FrameSize
from bilp.data.clips.sampling import Frames, Timeline, Wanted, is_short
from bilp.data.decode import Conversion, Pixels, decode
from bilp.data.opening import DecodeError


@dataclass(frozen=True)
class ClipConversion:
    """Which frames are taken of every clip, and what becomes of each: `sampling` is the "module:name" of the function that chooses."""

    sampling: str
    wanted: Wanted
    size: FrameSize

    def as_json(self) -> str:
        """The same as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ClipConversion:
        """The conversion that `as_json` wrote."""
        fields: Mapping[str, Any] = json.loads(text)
        before = fields["size"]["before"]
        size = FrameSize(**{**fields["size"], "before": None if before is None else tuple(before)})
        return cls(fields["sampling"], Wanted(**fields["wanted"]), size)


@dataclass(frozen=True)
class Clip:
    """A decoded clip: uint8 [T, C, H, W], and whether a frame was taken more than once because the clip has too few."""

    pixels: Pixels
    short: bool


def convert_clip(data: bytes, conversion: ClipConversion, draw: int) -> Clip:
    """A video file, or the frames of a bundle (which were chosen before), as a clip; raises DecodeError.

    `draw` is a number from the clip's own random stream.
    """
    if is_bundle(data):
        return _from_bundle(data, conversion)
    from bilp.data.clips.container import Taking, decode_frames  # the frames of bundles need no PyAV

    taken, pixels = decode_frames(data, Taking(chooser(conversion, draw), conversion.size.pixels, conversion.size.check))
    return Clip(_stacked([pixels[position] for position in taken.tolist()]), is_short(taken))


def chooser(conversion: ClipConversion, draw: int) -> Callable[[Timeline], Frames]:
    """What takes the frames of a clip whose random stream gives `draw`."""
    module, _, name = conversion.sampling.partition(":")  # as `bilp.registry.resolve`, which takes pydantic into every process
    choose: Callable[[Timeline, Wanted], Frames] = getattr(import_module(module), name)
    return lambda timeline: choose(timeline, replace(conversion.wanted, draw=draw))


def _from_bundle(data: bytes, conversion: ClipConversion) -> Clip:
    encoded = list(frames_in(data))
    pixels = {content: _picture(content, conversion) for content in set(encoded)}
    return Clip(_stacked([pixels[content] for content in encoded]), len(pixels) < len(encoded))


def _picture(data: bytes, conversion: ClipConversion) -> Pixels:
    size = conversion.size
    whole = decode(data, Conversion(color=size.color, max_pixels=size.max_pixels))
    return size.pixels(Image.fromarray(whole[0] if len(whole) == 1 else whole.transpose(1, 2, 0)))


def _stacked(frames: list[Pixels]) -> Pixels:
    """Frames [T, C, H, W]; gray ones among frames in color become RGB. Raises DecodeError if they differ in size."""
    sizes = {frame.shape[1:] for frame in frames}
    if len(sizes) > 1:
        raise DecodeError("has frames of several sizes: set ingest.resolution to the side that all are brought to")
    channels = max(len(frame) for frame in frames)
    return np.stack([np.broadcast_to(frame, (channels, *frame.shape[1:])) for frame in frames])
