"""The shape of a sample: a picture (C, H, W), or a clip (T, C, H, W) of T frames. No other module knows which axis is which.

Pure numbers, without torch, for everybody from settings and facts to networks and pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

ImageShape = tuple[int, int, int]
ClipShape = tuple[int, int, int, int]
Shape = ImageShape | ClipShape

Layout = Literal["CHW", "TCHW"]
"""The order of axes, as the canonical store states it."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def as_shape(numbers: Sequence[int]) -> Shape:
    """The numbers as the shape of a sample. Raises ValueError unless there are three or four of them."""
    if len(numbers) == 3:
        return (numbers[0], numbers[1], numbers[2])
    if len(numbers) == 4:
        return (numbers[0], numbers[1], numbers[2], numbers[3])
    raise ValueError(f"{list(numbers)} is no shape of a sample: pictures are [C, H, W], clips [T, C, H, W]")


def is_clip(shape: Sequence[int]) -> bool:
    """Whether samples of this shape are clips."""
    return len(shape) == 4


def layout_of(shape: Sequence[int]) -> Layout:
    """The order of its axes."""
    return "TCHW" if is_clip(shape) else "CHW"


def frames_in(shape: Sequence[int]) -> int:
    """Pictures in a sample: T of a clip, 1 of a picture."""
    return shape[0] if is_clip(shape) else 1


def channels_of(shape: Sequence[int]) -> int:
    """C."""
    return shape[-3]


def side_of(shape: Sequence[int]) -> tuple[int, int]:
    """(H, W)."""
    return shape[-2], shape[-1]


def frame_of(shape: Sequence[int]) -> ImageShape:
    """(C, H, W) of a picture, or of each frame of a clip."""
    return shape[-3], shape[-2], shape[-1]


def values_in(shape: Sequence[int]) -> int:
    """Values of a sample."""
    return math.prod(shape)


def with_channels(shape: Sequence[int], channels: int) -> Shape:
    """The same with another number of channels."""
    return as_shape([*shape[:-3], channels, *shape[-2:]])


def with_side(shape: Sequence[int], height: int, width: int) -> Shape:
    """The same with another height and width."""
    return as_shape([*shape[:-2], height, width])


def shrunk(shape: Sequence[int], by: int) -> Shape:
    """The same with height and width divided by a number, rounded down but at least 1."""
    height, width = side_of(shape)
    return with_side(shape, max(1, height // by), max(1, width // by))


def with_frames(shape: Sequence[int], frames: int) -> Shape:
    """Of a clip, the same with another number of frames."""
    return as_shape([frames, *shape[-3:]])


def size_words(shape: Sequence[int]) -> str:
    """Width and height as people say them: '64 x 48 pixels', or '8 frames of 64 x 48 pixels'."""
    height, width = side_of(shape)
    pixels = f"{width} x {height} pixels"
    return f"{frames_in(shape)} frames of {pixels}" if is_clip(shape) else pixels


def sample_noun(shape: Sequence[int]) -> str:
    """What a sample is called: image or clip."""
    return "clip" if is_clip(shape) else "image"
