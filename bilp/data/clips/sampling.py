"""Which frames of a clip are taken: whole numbers and fractions of the times at which frames are shown, and nothing of pixels.

The frame shown at time t is the last one whose time is at most t; before the first frame it is the first. Times are exact, so that
the same clip gives the same frames on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

from bilp.data.opening import DecodeError

Frames = NDArray[np.int64]
"""Positions of frames in the order in which they are shown, [T], ascending; a frame may be taken more than once."""

FASTER = (1, 2, 4)
"""How many times the rate `middle` takes the frames of clips that are shorter than all frames need."""
FASTEST = 6


@dataclass(frozen=True)
class Timeline:
    """When frames are shown: `pts` [n], strictly ascending, and `end`, when the last one goes, in units of `unit` seconds.

    `unit` is None where nobody knows how long a frame is shown.
    """

    pts: NDArray[np.int64]
    end: int
    unit: Fraction | None

    @classmethod
    def of_count(cls, count: int, rate: Fraction | None) -> Timeline:
        """`count` frames of equal length, `rate` of them in a second."""
        return cls(np.arange(count, dtype=np.int64), count, None if not rate else 1 / rate)

    @classmethod
    def of_times(cls, pts: NDArray[np.int64], last: int, unit: Fraction) -> Timeline:
        """Frames shown at `pts`, the last one for `last` units; where that is not positive, for as long as the others on average."""
        if last <= 0:
            last = max(1, int(pts[-1] - pts[0]) // max(1, len(pts) - 1))
        return cls(pts, int(pts[-1]) + last, unit)


@dataclass(frozen=True)
class Wanted:
    """What is taken of a clip: `frames`, at `fps` frames a second, or one of every `stride`, from a start that `draw` says.

    `draw` is a number from a named random stream, 0 or larger.
    """

    frames: int
    fps: float
    stride: int
    draw: int = 0


def uniform(timeline: Timeline, wanted: Wanted) -> Frames:
    """The frames shown at the centers of `wanted.frames` equal segments of the clip."""
    first, length = int(timeline.pts[0]), timeline.end - int(timeline.pts[0])
    return _shown(timeline, [first + Fraction((2 * i + 1) * length, 2 * wanted.frames) for i in range(wanted.frames)])


def middle(timeline: Timeline, wanted: Wanted) -> Frames:
    """Frames at `wanted.fps` around the middle; of clips shorter than they need, at 2, 4 or 6 times the rate.

    As the program of video_distillation (Wang et al. 2024) does, whose 8 frames at 2 a second need four seconds. Of a clip that is
    too short even so, the last frame is repeated. Raises DecodeError if nobody knows how long a frame is shown.
    """
    if timeline.unit is None:
        raise DecodeError("says nothing of its frame rate: set ingest.sampling to uniform or window")
    first, rate = int(timeline.pts[0]), Fraction(wanted.fps)
    seconds = (timeline.end - first) * timeline.unit
    needed = wanted.frames / rate
    times = next((faster for faster in FASTER if seconds * faster >= needed), FASTEST)
    step = 1 / (rate * times * timeline.unit)
    start = max(Fraction(first), Fraction(first + timeline.end, 2) - step * (wanted.frames - 1) / 2)
    return _shown(timeline, [start + i * step for i in range(wanted.frames)])


def window(timeline: Timeline, wanted: Wanted) -> Frames:
    """One frame of every `wanted.stride`, from a start that `wanted.draw` says; of a clip too short for that, the last is repeated."""
    count = len(timeline.pts)
    starts = max(1, count - (wanted.frames - 1) * wanted.stride)
    taken = wanted.draw % starts + wanted.stride * np.arange(wanted.frames, dtype=np.int64)
    return np.minimum(taken, count - 1)


def is_short(taken: Frames) -> bool:
    """Whether a frame is taken more than once, because the clip has too few."""
    return len(np.unique(taken)) < len(taken)


def _shown(timeline: Timeline, times: Sequence[Fraction]) -> Frames:
    at = np.array([floor(time) for time in times], dtype=np.int64)  # times of frames are whole numbers
    return np.clip(np.searchsorted(timeline.pts, at, side="right") - 1, 0, len(timeline.pts) - 1)
