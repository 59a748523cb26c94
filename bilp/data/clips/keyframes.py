"""In which stretches a clip is decoded so that no frame is decoded which no wanted one needs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """Frames that are decoded one after the other: from the keyframe `start` on (None: from where the decoder is) up to the last
    of the wanted `frames`. All are positions in the order in which frames are shown."""

    start: int | None
    frames: tuple[int, ...]


def stretches(wanted: Sequence[int], keyframes: Sequence[int]) -> list[Stretch]:
    """How to decode the `wanted` frames, ascending and different, of a clip with these `keyframes`, ascending.

    The decoder jumps only to a keyframe that it has not reached: whatever lies before the next keyframe is decoded in sequence, as
    later frames need the earlier ones.
    """
    found: list[Stretch] = []
    reached = 0  # the frame that comes next without a jump
    for frame in wanted:
        position = bisect_right(keyframes, frame)
        key = keyframes[position - 1] if position else 0
        if key > reached:
            found.append(Stretch(key, (frame,)))
        elif found:
            found[-1] = Stretch(found[-1].start, (*found[-1].frames, frame))
        else:
            found.append(Stretch(None, (frame,)))
        reached = frame + 1
    return found
