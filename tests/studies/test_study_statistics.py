"""What a study concludes, against slow restatements and the tests of scipy."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy import stats

from bilp.evaluate.metrics import Measurement, mean_accuracy, paired_difference, paired_test
from bilp.evaluate.uncertainty import p_value
from bilp.seeds import generator
from bilp.studies.statistics import BySeed, accuracy, comparisons, difference, equivalent, holm

OURS = {0: [0.90, 0.92], 1: [0.85, 0.89], 2: [0.91, 0.90], 3: [0.88, 0.93]}
THEIRS = {0: [0.88, 0.89], 1: [0.84, 0.85], 2: [0.86, 0.90], 3: [0.87, 0.86]}


def drawn(*shape: int) -> np.ndarray:
    import torch

    return torch.rand(shape, generator=generator(0, "study statistics"), dtype=torch.float64).numpy()


def test_an_interval_is_students_over_the_means_of_the_seeds() -> None:
    means = [np.mean(values) for values in OURS.values()]
    low, high = stats.t.interval(0.95, len(means) - 1, np.mean(means), stats.sem(means))
    found = accuracy(OURS)
    assert found.value.mean == pytest.approx(np.mean(means)) and found.value.half_width95 == pytest.approx((high - low) / 2)
    assert (found.value.n, found.seeds, found.trainings) == (4, 4, 8)


def test_the_parts_of_the_variance_are_those_that_made_the_numbers() -> None:
    between, within, seeds, trainings = 0.03, 0.01, 2000, 3
    values = stats.norm.ppf(drawn(seeds, trainings + 1))
    told = {seed: list(0.5 + between * row[0] + within * row[1:]) for seed, row in enumerate(values)}
    found = accuracy(told)
    assert found.between == pytest.approx(between, rel=0.05) and found.within == pytest.approx(within, rel=0.05)


def test_the_interval_of_few_seeds_covers_what_it_should_and_that_over_trainings_does_not() -> None:
    values = stats.norm.ppf(drawn(500, 4, 4))
    hits = naive = 0
    for study in values:
        told = {seed: list(0.03 * row[0] + 0.01 * row[1:]) for seed, row in enumerate(study)}
        found = accuracy(told)
        hits += abs(found.value.mean) <= found.value.half_width95
        naive += abs(found.value.mean) <= stats.sem([v for each in told.values() for v in each]) * stats.t.ppf(0.975, 11)
    assert 0.92 < hits / len(values) < 0.98 and naive / len(values) < 0.85


def test_with_one_seed_it_is_over_the_trainings() -> None:
    found = accuracy({7: [0.5, 0.7]})
    assert found.value.n == 2 and math.isnan(found.between) and found.value.half_width95 == pytest.approx(stats.t.ppf(0.975, 1) * 0.1)


def test_differences_and_p_values_are_those_of_the_paired_t_test() -> None:
    found = difference(OURS, THEIRS)
    assert found is not None
    ours, theirs = ([np.mean(values) for values in each.values()] for each in (OURS, THEIRS))
    expected = stats.ttest_rel(ours, theirs)
    assert found.mean == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert p_value(found) == pytest.approx(expected.pvalue)
    assert found.half_width95 == pytest.approx(np.diff(expected.confidence_interval(0.95))[0] / 2)


def test_only_seeds_that_both_have_are_compared() -> None:
    found = difference({0: [0.5], 1: [0.6], 9: [0.0]}, {0: [0.4], 1: [0.5], 3: [1.0]})
    assert found is not None and (found.mean, found.freedom) == (pytest.approx(0.1), 1)
    assert difference({0: [0.5]}, {1: [0.5]}) is None


def measured(found: BySeed) -> list[Measurement]:
    return [Measurement("arm", seed, "net", k, value) for seed, of in found.items() for k, value in enumerate(of)]


def test_trainings_that_all_seeds_share_are_told_as_on_the_page_of_a_pipeline() -> None:
    found = accuracy(OURS, crossed=True)
    assert found.value.half_width95 == pytest.approx(mean_accuracy(measured(OURS)).half_width95)
    (told,) = comparisons([(OURS, THEIRS)], None, crossed=True)
    expected = paired_test(measured(OURS), measured(THEIRS))
    assert told is not None and told.p == pytest.approx(expected.p) and told.value == paired_difference(measured(OURS), measured(THEIRS))
    (apart,) = comparisons([(OURS, THEIRS)], None)
    assert apart is not None and told.p != pytest.approx(apart.p)


def test_trainings_that_all_seeds_share_widen_the_interval_to_what_it_should_cover() -> None:
    values = stats.norm.ppf(drawn(400, 4, 5))
    hits = of_means = 0
    for study in values:  # the first row is the luck of each training on every set
        told = {seed: list(0.01 * row[0] + 0.03 * study[0, 1:] + 0.01 * row[1:]) for seed, row in enumerate(study[1:])}
        both, means = accuracy(told, crossed=True).value, accuracy(told).value
        hits += abs(both.mean) <= both.half_width95
        of_means += abs(means.mean) <= means.half_width95
    assert hits / len(values) > 0.92 and of_means / len(values) < 0.85


def slow_holm(values: list[float]) -> list[float]:
    """By definition: the largest level-adjusted value among those that are rejected before it."""
    places = range(len(values))
    order = next(order for order in permutations(places) if all(values[a] <= values[b] for a, b in pairwise(order)))
    return [max(min(1.0, (len(values) - k) * values[order[k]]) for k in range(order.index(i) + 1)) for i in places]


@pytest.mark.parametrize("values", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.02], [0.9], [1.0, 0.0, 0.3, 0.2, 0.1]])
def test_holms_procedure(values: list[float]) -> None:
    assert holm(values) == pytest.approx(slow_holm(values))
    assert all(math.isnan(each) for each in holm([math.nan, *values])[:1]) and holm([math.nan, *values])[1:] == pytest.approx(holm(values))


def test_what_is_no_number_takes_no_part_in_the_correction() -> None:
    (first, second) = comparisons([(OURS, THEIRS), ({0: [0.5]}, {0: [0.4]})], None)
    assert first is not None and second is not None
    assert first.adjusted == first.p and math.isnan(second.p) and math.isnan(second.adjusted) and not second.significant


@pytest.mark.parametrize(("shift", "expected"), [(0.0, True), (0.019, False), (0.05, False)])
def test_equivalence_is_two_one_sided_tests(shift: float, expected: bool) -> None:
    values = np.array([0.001, -0.002, 0.0015, -0.0005, 0.0]) + shift
    found = difference({k: [float(value)] for k, value in enumerate(values)}, {k: [0.0] for k in range(5)})
    assert found is not None
    ps = [stats.ttest_1samp(values, edge, alternative=side).pvalue for edge, side in ((-0.02, "greater"), (0.02, "less"))]
    assert equivalent(found, 0.02) is expected is bool(max(ps) < 0.05)
