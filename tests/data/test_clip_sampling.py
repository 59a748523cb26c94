"""Which frames are taken, by arithmetic alone: against sums done by hand, and against the definition in plain loops."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilp.data.clips.keyframes import Stretch, stretches
from bilp.data.clips.sampling import Timeline, Wanted, is_short, middle, uniform, window
from bilp.data.opening import DecodeError

THIRTY = Fraction(1, 30)


def seconds(count: int, rate: int = 30) -> Timeline:
    return Timeline.of_count(count, Fraction(rate))


def test_uniform_takes_the_centers_of_equal_segments() -> None:
    assert uniform(seconds(80), Wanted(8, 2.0, 4)).tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
    assert uniform(seconds(3), Wanted(4, 2.0, 4)).tolist() == [0, 1, 1, 2]
    # Shown at 0, 1, 2 and, until 20, at 10: of four segments of 5 the centers are 2.5, 7.5, 12.5, 17.5.
    assert uniform(Timeline(np.array([0, 1, 2, 10]), 20, THIRTY), Wanted(4, 2.0, 4)).tolist() == [2, 2, 3, 3]


def test_times_count_from_the_first_frame() -> None:
    late = Timeline(np.arange(80) * 512 + 3579, 3579 + 80 * 512, Fraction(1, 15360))
    assert uniform(late, Wanted(8, 2.0, 4)).tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
    assert middle(late, Wanted(8, 2.0, 4)).tolist() == middle(seconds(80), Wanted(8, 2.0, 4)).tolist()


@pytest.mark.parametrize(
    ("count", "step"),
    [
        (300, 15),  # 10 s at 30 a second: one of 15
        (120, 15),  # four seconds are enough
        (119, 7.5),
        (60, 7.5),
        (59, 3.75),
        (30, 3.75),
        (29, 2.5),
    ],
)
def test_middle_is_faster_for_shorter_clips(count: int, step: float) -> None:
    start = max(0.0, count / 2 - 3.5 * step)
    expected = [min(count - 1, int(start + i * step)) for i in range(8)]
    assert middle(seconds(count), Wanted(8, 2.0, 4)).tolist() == expected


def test_middle_repeats_the_last_frame_of_what_is_too_short_even_so() -> None:
    taken = middle(seconds(12), Wanted(8, 2.0, 4))  # 0.4 s, and 8 frames at 12 a second need 0.58
    assert taken.tolist() == [0, 2, 5, 7, 10, 11, 11, 11]
    assert is_short(taken) and not is_short(middle(seconds(30), Wanted(8, 2.0, 4)))


def test_middle_needs_a_rate() -> None:
    with pytest.raises(DecodeError, match="frame rate: set ingest.sampling"):
        middle(Timeline.of_count(40, None), Wanted(8, 2.0, 4))


def test_window_starts_where_the_draw_says() -> None:
    assert window(seconds(40), Wanted(8, 2.0, 4, draw=0)).tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert window(seconds(40), Wanted(8, 2.0, 4, draw=11)).tolist() == [11, 15, 19, 23, 27, 31, 35, 39]
    assert window(seconds(40), Wanted(8, 2.0, 4, draw=12)).tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert window(seconds(10), Wanted(4, 2.0, 4, draw=5)).tolist() == [0, 4, 8, 9]


def test_a_last_frame_without_a_length_lasts_as_long_as_the_others() -> None:
    assert Timeline.of_times(np.array([0, 10, 20, 30]), 0, THIRTY).end == 40
    assert Timeline.of_times(np.array([0, 10, 20, 30]), 7, THIRTY).end == 37
    assert Timeline.of_times(np.array([5]), 0, THIRTY).end == 6


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 20), st.integers(0, 100))
def test_the_frame_shown_is_the_last_that_began(steps: list[int], frames: int, first: int) -> None:
    pts = np.cumsum([first, *steps[:-1]])
    timeline = Timeline.of_times(pts.astype(np.int64), steps[-1], THIRTY)
    for i, taken in enumerate(uniform(timeline, Wanted(frames, 2.0, 4)).tolist()):
        time = first + Fraction(2 * i + 1, 2 * frames) * (timeline.end - first)
        assert pts[taken] <= time and (taken + 1 == len(pts) or pts[taken + 1] > time)


def test_a_jump_only_to_a_keyframe_that_was_not_reached() -> None:
    every_twelfth = list(range(0, 100, 12))
    assert stretches([3, 7, 11, 12], every_twelfth) == [Stretch(None, (3, 7, 11, 12))]
    assert stretches([3, 13, 40, 44], every_twelfth) == [Stretch(None, (3,)), Stretch(12, (13,)), Stretch(36, (40, 44))]
    assert stretches([50, 99], [0]) == [Stretch(None, (50, 99))]
    assert stretches([30], every_twelfth) == [Stretch(24, (30,))]
    assert stretches([2, 30], [20]) == [Stretch(None, (2,)), Stretch(20, (30,))]  # a clip that begins in the middle of a group


@given(st.sets(st.integers(0, 60), min_size=1), st.sets(st.integers(0, 60)))
def test_stretches_hold_every_frame_once_and_go_forward(wanted: set[int], keys: set[int]) -> None:
    plan = stretches(sorted(wanted), sorted(keys))
    assert [frame for stretch in plan for frame in stretch.frames] == sorted(wanted)
    decoded = 0
    position = 0
    for stretch in plan:
        if stretch.start is not None:
            assert stretch.start in keys and stretch.start > position
            position = stretch.start
        decoded += stretch.frames[-1] + 1 - position
        position = stretch.frames[-1] + 1
    # No frame is decoded that no wanted one needs: from its keyframe, or from where the decoder was.
    needed = {frame for want in wanted for frame in range(max([key for key in keys if key <= want], default=0), want + 1)}
    assert decoded == len(needed)
