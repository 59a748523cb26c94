"""Galleries: which samples are shown, and pictures that are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_reader import decode

from bilp.report.galleries import around_cuts, low_middle_high, picture, spread


def test_drop_high_shows_the_ends_and_both_sides_of_the_threshold() -> None:
    kept, border, dropped = around_cuts(np.arange(100) < 70, 8)
    assert kept.tolist() == list(range(8))
    assert border.tolist() == [66, 67, 68, 69, 70, 71, 72, 73]
    assert dropped.tolist() == list(range(92, 100))


def test_a_band_has_two_thresholds_and_its_middle_is_surest() -> None:
    ranks = np.arange(100)
    kept, border, dropped = around_cuts((ranks >= 20) & (ranks < 60), 4)
    assert kept.tolist() == [38, 39, 40, 41]
    assert border.tolist() == [19, 20, 59, 60]
    assert dropped.tolist() == [96, 97, 98, 99]


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 12))
def test_around_cuts_against_a_slow_search(fates: list[bool], count: int) -> None:
    kept = np.array(fates, dtype=bool)
    groups = around_cuts(kept, count)
    shown = np.concatenate(groups).tolist()
    assert len(set(shown)) == len(shown) and all(len(group) <= count for group in groups)
    assert kept[groups[0]].all() and not kept[groups[2]].any()

    def distance(rank: int) -> float:
        ends = [k + 0.5 for k in range(len(fates) - 1) if fates[k] != fates[k + 1]]
        return min((abs(rank - end) for end in ends), default=0.0)

    border = set(groups[1].tolist())
    outside = [distance(rank) for rank in range(len(fates)) if rank not in border]
    assert max((distance(rank) for rank in border), default=0.0) <= min(outside, default=np.inf)
    for fate, group in ((True, groups[0]), (False, groups[2])):
        rest = [rank for rank in range(len(fates)) if fates[rank] == fate and rank not in border]
        assert len(group) == min(count, len(rest))
        left_out = [distance(rank) for rank in rest if rank not in group]
        assert min((distance(rank) for rank in group), default=np.inf) >= max(left_out, default=0.0)


@given(st.integers(0, 50), st.integers(1, 12))
def test_low_middle_high_do_not_overlap(n: int, count: int) -> None:
    low, middle, high = low_middle_high(n, count)
    together = np.concatenate([low, middle, high]).tolist()
    assert together == sorted(set(together)) and all(0 <= rank < n for rank in together)
    assert len(low) == len(middle) == len(high) == min(count, n // 3)
    assert low.tolist() == list(range(len(low))) and high.tolist() == list(range(n - len(high), n))


@given(st.integers(0, 200), st.integers(1, 20))
def test_spread_reaches_from_first_to_last(n: int, count: int) -> None:
    chosen = spread(np.arange(n), count)
    assert len(chosen) == min(n, count) and (np.diff(chosen) > 0).all()
    assert n == 0 or chosen[0] == 0
    assert min(n, count) < 2 or chosen[-1] == n - 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 16, 20)])
def test_small_pictures_are_exact(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng().integers(0, 256, shape, dtype=np.uint8)
    shown = picture(pixels, "words")
    assert (decode(shown.uri) == pixels).all()
    assert (shown.height, shown.width) == shape[1:]


def test_large_pictures_are_reduced_and_keep_their_proportions() -> None:
    ramp = np.linspace(0, 255, 200, dtype=np.uint8)
    shown = picture(np.broadcast_to(ramp, (3, 100, 200)).copy(), "words")
    pixels = decode(shown.uri)
    assert pixels.shape == (3, 32, 64) == (3, shown.height, shown.width)
    assert len(shown.uri) < 4000
    assert np.abs(pixels[:, :, ::8].astype(int) - np.linspace(0, 255, 64)[::8]).max() < 12
