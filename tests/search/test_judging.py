"""Which candidates go on and which one is chosen: paired differences, beside a slow reference, and what wrong held-out labels do."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from bilp.search.judging import Judgment, chosen, judge


def slowly(values: np.ndarray, base: np.ndarray) -> tuple[float, float]:
    """Mean difference and its standard error by loops over distillations and trainings."""
    means = []
    for k in range(len(values)):
        pairs = [float(values[k][s]) - float(base[k][s]) for s in range(len(values[k]))]
        means.append(statistics.fmean(pairs))
    return statistics.fmean(means), statistics.stdev(means) / math.sqrt(len(means))


def test_differences_are_paired_and_their_errors_are_those_of_distillations() -> None:
    draws = np.random.default_rng(0)
    accuracies = {number: draws.random((4, 3)) for number in range(5)}
    found = judge(accuracies, reference=2)
    assert [each.difference for each in found] == sorted((each.difference for each in found), reverse=True)
    for each in found:
        difference, error = slowly(accuracies[each.candidate], accuracies[2])
        assert each.difference == pytest.approx(difference, abs=1e-12)
        assert each.error == pytest.approx(error, abs=1e-12)
        assert each.accuracy == pytest.approx(float(np.mean(accuracies[each.candidate])))


def test_what_pairs_have_in_common_cancels() -> None:
    common = np.random.default_rng(1).random((3, 3)) / 2
    found = {each.candidate: each for each in judge({0: common, 1: common + 0.1}, reference=0)}
    assert found[1].difference == pytest.approx(0.1)
    assert found[1].error == pytest.approx(0.0, abs=1e-12)


def test_of_what_cannot_be_told_apart_the_one_that_prunes_least_is_chosen() -> None:
    reference = Judgment(0, 0.5, 0.0, 0.0)
    assert chosen([Judgment(1, 0.53, 0.03, 0.02), reference], 0) == 1
    assert chosen([Judgment(1, 0.53, 0.03, 0.04), reference], 0) == 0
    assert chosen([Judgment(1, 0.53, 0.03, 0.04), Judgment(2, 0.52, 0.02, 0.01), reference], 0) == 2
    assert chosen([reference, Judgment(1, 0.4, -0.1, 0.01)], 0) == 0


def measured(right: np.ndarray, learned: np.ndarray, truth: np.ndarray, given: np.ndarray, other: np.ndarray) -> float:
    """Accuracy by given labels of a network that says the truth where `right`, the class that noise puts where `learned`, else another."""
    said = np.where(right, truth, np.where(learned, (truth + 1) % 10, other))
    return float(np.mean(said == given))


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_what_wrong_labels_of_held_out_images_do(share: float) -> None:
    """Uniform noise shrinks every difference by 1 - p C / (C - 1); under cyclic noise accuracy is (1 - p) a + p b."""
    draws, n = np.random.default_rng(2), 100_000
    truth = draws.integers(0, 10, n)
    wrong = draws.random(n) < share
    uniform = np.where(wrong, (truth + draws.integers(1, 10, n)) % 10, truth)
    cyclic = np.where(wrong, (truth + 1) % 10, truth)
    never, spread = np.zeros(n, dtype=bool), (truth + draws.integers(1, 10, n)) % 10  # mistakes that fall on all classes alike
    better, worse = draws.random(n) < 0.9, draws.random(n) < 0.7
    clean = measured(better, never, truth, truth, spread) - measured(worse, never, truth, truth, spread)
    noisy = measured(better, never, truth, uniform, spread) - measured(worse, never, truth, uniform, spread)
    assert noisy == pytest.approx(clean * (1 - share * 10 / 9), abs=0.006)
    learned = measured(worse, ~worse, truth, cyclic, spread)  # every one of its mistakes is what noise says
    assert learned == pytest.approx((1 - share) * 0.7 + share * 0.3, abs=0.006)
