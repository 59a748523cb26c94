"""Static selection: hand-made cases, exact counts, refusals, and agreement with a slow obvious reference."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.errors import ConfigError, DataError
from bilp.pruning.static import decimal, random_scores, round_half_up, select


def names(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


def half_up(share: Decimal, n: int) -> int:
    return int((share * n).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def reference(scores, labels, classes, keep, drop, band, per_class):
    """Python lists, one group after the other; independent of the fast path's arithmetic."""
    groups = [[i for i in range(len(labels)) if labels[i] == c] for c in range(classes)]
    rank = {}
    for group in groups:
        for position, index in enumerate(sorted(group, key=lambda i: (scores[i], i))):
            rank[index] = position
    kept = set()
    for group in groups if per_class else [range(len(labels))]:
        ranking = sorted(group, key=lambda i: (scores[i], i))
        n = len(ranking)
        if band is not None:
            low, high = (n - half_up(1 - Decimal(repr(edge)), n) for edge in band)
            kept.update(ranking[low:high])
        else:
            dropped = half_up(1 - Decimal(repr(keep)), n)
            kept.update(ranking[: n - dropped] if drop == "high" else ranking[dropped:])
    return kept, rank


@st.composite
def problems(draw):
    classes = draw(st.integers(1, 6))
    extra = draw(st.lists(st.integers(0, classes - 1), max_size=60))
    labels = draw(st.permutations(list(range(classes)) + extra))
    values = st.sampled_from([0.0, 1.0, 2.5, -3.0]) if draw(st.booleans()) else st.floats(-1e6, 1e6)
    scores = draw(st.lists(values, min_size=len(labels), max_size=len(labels)))
    edges = sorted(draw(st.tuples(st.integers(0, 100), st.integers(0, 100)).filter(lambda e: e[0] != e[1])))
    band = (edges[0] / 100, edges[1] / 100) if draw(st.booleans()) else None
    keep = draw(st.integers(1, 1000)) / 1000
    return np.array(scores), np.array(labels), classes, keep, draw(st.sampled_from(["high", "low"])), band, draw(st.booleans())


@settings(max_examples=300, deadline=None)
@given(problems())
def test_agrees_with_reference(problem):
    scores, labels, classes, keep, drop, band, per_class = problem
    kept, rank = reference(scores, labels, classes, keep, drop, band, per_class)
    cut = select(
        scores, labels, names(classes), keep=keep, drop=drop, band=band, floor_per_class=None if per_class else 0, minimum_per_class=0
    )
    assert set(np.flatnonzero(cut.kept)) == kept
    assert [rank[i] for i in range(len(labels))] == cut.rank_in_class.tolist()
    for c in range(classes):
        inside = [scores[i] for i in kept if labels[i] == c]
        assert cut.total_per_class[c] == (labels == c).sum()
        assert cut.kept_per_class[c] == len(inside)
        if inside:
            assert (cut.lowest_kept[c], cut.highest_kept[c]) == (min(inside), max(inside))
        else:
            assert np.isnan(cut.lowest_kept[c]) and np.isnan(cut.highest_kept[c])


@settings(max_examples=200, deadline=None)
@given(problems(), st.integers(1, 8))
def test_suggested_keep_is_enough_and_tight(problem, minimum):
    scores, labels, classes, keep, drop, _, per_class = problem
    arguments = {"drop": drop, "floor_per_class": None if per_class else 0, "minimum_per_class": minimum}
    try:
        select(scores, labels, names(classes), keep=keep, **arguments)
    except ConfigError as error:
        if "smallest keep that would do is " not in str(error):
            assert np.bincount(labels).min() < minimum
            return
        text = str(error).split("smallest keep that would do is ")[1].split(";")[0]
        select(scores, labels, names(classes), keep=float(text), **arguments)
        below = Decimal(text) - Decimal(1).scaleb(Decimal(text).as_tuple().exponent)
        assert float(text) > keep
        with pytest.raises(ConfigError):
            select(scores, labels, names(classes), keep=float(below) or 1e-9, **arguments)


def test_counts_are_exact_where_floats_are_not():
    assert int((1 - 0.9) * 5000) == 499  # the trap of the preview code
    labels = np.zeros(5000, dtype=np.int64)
    cut = select(np.arange(5000.0), labels, ["all"], keep=0.9)
    assert cut.kept_per_class.tolist() == [4500]
    assert (cut.lowest_kept[0], cut.highest_kept[0]) == (0.0, 4499.0)


@given(st.integers(1, 10**6), st.integers(0, 1_300_000))
def test_round_half_up_is_decimal_rounding(millionths, n):
    share = millionths / 10**6
    assert round_half_up(decimal(share), np.array([n]))[0] == half_up(Decimal(repr(share)), n)


def test_long_decimals_do_not_overflow():
    assert round_half_up(decimal(0.12345678901234567), np.array([10**12]))[0] == 123456789012
    assert decimal(0.1) == Fraction(1, 10)


def test_ties_are_cut_by_index():
    cut = select(np.zeros(6), np.array([0, 1, 0, 1, 0, 1]), names(2), keep=0.34)
    assert np.flatnonzero(cut.kept).tolist() == [0, 1]
    assert cut.rank_in_class.tolist() == [0, 0, 1, 1, 2, 2]
    low = select(np.zeros(6), np.array([0, 1, 0, 1, 0, 1]), names(2), keep=0.34, drop="low")
    assert np.flatnonzero(low.kept).tolist() == [4, 5]


def test_neighboring_bands_share_out_every_class():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 500)
    scores = rng.normal(size=500)
    edges = [0.0, 0.1, 0.35, 0.5, 0.995, 1.0]
    bands = [select(scores, labels, names(7), keep=1.0, band=b, minimum_per_class=0).kept for b in pairwise(edges)]
    assert (np.sum(bands, axis=0) == 1).all()
    low = select(scores, labels, names(7), keep=1.0, band=(0.0, 0.35)).kept
    assert (low == select(scores, labels, names(7), keep=0.35).kept).all()


def test_global_ranking_can_unbalance_classes():
    scores = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert select(scores, labels, names(2), keep=0.5).kept_per_class.tolist() == [1, 1]
    with pytest.raises(ConfigError, match=r"class 1 keeps 0 of 3.*smallest keep that would do is 0.584"):
        select(scores, labels, names(2), keep=0.5, floor_per_class=0)
    assert select(scores, labels, names(2), keep=0.584, floor_per_class=0).kept_per_class.tolist() == [3, 1]


def test_keep_one_keeps_everything():
    cut = select(np.array([3.0, 1.0, 2.0]), np.array([0, 0, 1]), names(2), keep=1.0)
    assert cut.kept.all() and cut.kept_per_class.tolist() == [2, 1]


def test_two_images_per_class():
    scores, labels = np.arange(20.0), np.repeat(np.arange(10), 2)
    assert select(scores, labels, names(10), keep=0.5).kept_per_class.tolist() == [1] * 10
    with pytest.raises(ConfigError, match=r"10 of 10 classes .*minimum_per_class = 2.*class 0 keeps 1 of 2.*is 0.751"):
        select(scores, labels, names(10), keep=0.5, minimum_per_class=2)
    assert select(scores, labels, names(10), keep=0.751, minimum_per_class=2).kept.all()
    with pytest.raises(ConfigError, match="fewer samples in all: lower minimum_per_class to 2"):
        select(scores, labels, names(10), keep=1.0, minimum_per_class=3)
    with pytest.raises(ConfigError, match="widen band"):
        select(scores, labels, names(10), keep=1.0, band=(0.4, 0.45))


def test_tiny_keep_names_the_smallest_that_works():
    labels = np.repeat(np.arange(3), [5000, 4000, 700])
    scores = np.random.default_rng(1).normal(size=len(labels))
    with pytest.raises(ConfigError, match=r"class 2 keeps 0 of 700.*is 0.00215"):
        select(scores, labels, names(3), keep=0.0004, minimum_per_class=2)
    assert select(scores, labels, names(3), keep=0.00215, minimum_per_class=2).kept_per_class.tolist() == [11, 9, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_scores_without_rank(bad):
    with pytest.raises(DataError, match=rf"1 of 4 scores are not finite, the first is {bad} of sample 2"):
        select(np.array([0.0, 1.0, bad, 2.0]), np.array([0, 0, 1, 1]), names(2), keep=0.5)


def test_refuses_inconsistent_input():
    with pytest.raises(DataError, match=r"1 of 3 classes have no samples \(class 1\)"):
        select(np.zeros(2), np.array([0, 2]), names(3), keep=1.0)
    with pytest.raises(DataError, match="labels reach from 0 to 2, but there are 2 classes"):
        select(np.zeros(2), np.array([0, 2]), names(2), keep=1.0)
    with pytest.raises(DataError, match="3 scores for 2 labels"):
        select(np.zeros(3), np.array([0, 1]), names(2), keep=1.0)


def test_random_scores_are_uniform_per_class_and_seeded():
    labels = np.random.default_rng(2).integers(0, 3, 3000)
    first, again, other = random_scores(labels, 3, 0), random_scores(labels, 3, 0), random_scores(labels, 3, 1)
    assert (first == again).all()
    assert (first != other).all()
    assert first.min() >= 0 and first.max() < 1
    shares = select(first, labels, names(3), keep=0.3).highest_kept
    assert np.abs(shares - 0.3).max() < 0.05
    one, two = (set(np.flatnonzero(select(s, labels, names(3), keep=0.3).kept)) for s in (first, other))
    assert 0.2 < len(one & two) / len(one) < 0.4  # independent subsets of 30 % share 30 %


def test_random_scores_of_a_class_do_not_depend_on_other_classes():
    alone = random_scores(np.array([1, 1, 1]), 2, 5)
    together = random_scores(np.array([0, 1, 0, 1, 1]), 2, 5)
    assert alone.tolist() == together[[1, 3, 4]].tolist()
    assert (together[[0, 2]] != alone[:2]).all()


@settings(max_examples=200, deadline=None)
@given(problems(), st.integers(0, 6))
def test_floor_keeps_the_best_of_each_class_and_the_total(problem, floor):
    scores, labels, classes, keep, drop, _, _ = problem
    total = len(labels) - half_up(1 - Decimal(repr(keep)), len(labels))
    sign = 1 if drop == "high" else -1
    ranking = sorted(range(len(labels)), key=lambda i: (sign * scores[i], sign * i))
    reserved = {i for c in range(classes) for i in [j for j in ranking if labels[j] == c][:floor]}
    arguments = {"keep": keep, "drop": drop, "floor_per_class": floor, "minimum_per_class": 0}
    if len(reserved) > total:
        with pytest.raises(ConfigError, match=f"keeps {len(reserved)} samples, but keep leaves only {total}: lower floor_per_class"):
            select(scores, labels, names(classes), **arguments)
        return
    cut = select(scores, labels, names(classes), **arguments)
    expected = reserved | set([i for i in ranking if i not in reserved][: total - len(reserved)])
    assert set(np.flatnonzero(cut.kept)) == expected
    assert (cut.kept_per_class >= np.minimum(floor, cut.total_per_class)).all()
    if floor == 0:
        assert len(expected) == total


def test_floor_by_hand():
    scores, labels = np.array([0.0, 1, 2, 10, 11, 12]), np.array([0, 0, 0, 1, 1, 1])
    assert select(scores, labels, names(2), keep=0.5, floor_per_class=1).kept.tolist() == [True, True, False, True, False, False]
    assert select(scores, labels, names(2), keep=0.5, drop="low", floor_per_class=1).kept.tolist() == [
        False,
        False,
        True,
        False,
        True,
        True,
    ]
