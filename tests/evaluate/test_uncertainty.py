"""Intervals over distillations and trainings: against a plain restatement, and by how often they cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bilp.evaluate import Measurement, interval, paired_difference
from bilp.evaluate.metrics import gain_over, mean_accuracy
from bilp.evaluate.uncertainty import estimate


def table(values: np.ndarray) -> dict[tuple[int, tuple[str, int]], float]:
    return {(e, ("mlp", s)): float(value) for (e, s), value in np.ndenumerate(values)}


def measured(values: np.ndarray, arm: str = "bilp") -> list[Measurement]:
    return [Measurement(arm, e, "mlp", s, float(value)) for (e, s), value in np.ndenumerate(values)]


def slow(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard error and degrees of freedom by the projections of a two-way layout, one matrix for each source of variation."""
    e, s = values.shape
    y, ones = values.ravel(), {n: np.full((n, n), 1 / n) for n in (e, s)}
    apart = {n: np.eye(n) - ones[n] for n in (e, s)}
    of_e, of_s, rest = (np.kron(a, b) for a, b in ((apart[e], ones[s]), (ones[e], apart[s]), (apart[e], apart[s])))
    square = {name: y @ matrix @ y / np.trace(matrix) for name, matrix in (("e", of_e), ("s", of_s), ("rest", rest))}
    whole = max(square["e"], square["s"], square["e"] + square["s"] - square["rest"])
    freedom = whole**2 / (square["e"] ** 2 / np.trace(of_e) + square["s"] ** 2 / np.trace(of_s))
    return float(y.mean()), math.sqrt(whole / (e * s)), max(freedom, min(e, s) - 1)


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (3, 3), (5, 3), (4, 7)])
def test_it_is_what_projections_give(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(sum(shape))
    for between, common in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        values = between * random.normal(size=(shape[0], 1)) + common * random.normal(size=(1, shape[1])) + random.normal(size=shape)
        found = estimate(table(values))
        mean, error, freedom = slow(values)
        assert (found.mean, found.error, found.freedom) == pytest.approx((mean, error, freedom), rel=1e-9)
        assert found.half_width95 == pytest.approx(stats.t.ppf(0.975, freedom) * error, rel=1e-9)


def test_one_level_alone_is_students_t() -> None:
    random = np.random.default_rng(0)
    trainings, distillations = random.normal(size=(1, 5)), random.normal(size=(4, 1))
    for values in (trainings, distillations):
        found = estimate(table(values))
        assert (found.mean, found.half_width95) == pytest.approx(interval(values.ravel().tolist()))
    single = estimate(table(np.array([[0.3]])))
    assert (single.mean, single.half_width95) == (0.3, math.inf)
    with pytest.raises(ValueError, match="at least one"):
        estimate({})


def test_other_trainings_in_each_distillation_leave_the_means_of_these() -> None:
    values = {(0, ("mlp", 0)): 0.1, (0, ("mlp", 1)): 0.3, (1, ("mlp", 2)): 0.4, (2, ("mlp", 0)): 0.9}
    found = estimate(values)
    assert (found.mean, found.half_width95) == pytest.approx(interval([0.2, 0.4, 0.9]))


def test_equal_values_everywhere_have_no_width_and_differing_levels_have_one() -> None:
    assert estimate(table(np.full((3, 4), 0.5))).half_width95 == 0.0
    assert estimate(table(np.array([[0.1] * 3, [0.2] * 3]))).error == pytest.approx(0.05), "no seed differs: the distillations alone"
    assert estimate(table(np.array([[0.1, 0.2]] * 3))).error == pytest.approx(0.05), "no distillation differs: the trainings alone"


TABLES = 400
SHAPES = [(3, 3), (3, 5), (5, 5), (10, 3)]
SPREADS = [(1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 0.3, 0.3), (0.3, 1.0, 0.3)]
"""Standard deviations between distillations, between seeds, and of the rest."""


def drawn(shape: tuple[int, int], spread: tuple[float, float, float]) -> list[np.ndarray]:
    """Tables of the model, whose mean is zero."""
    random = np.random.default_rng([*shape, *(int(10 * part) for part in spread)])
    parts = ((shape[0], 1), (1, shape[1]), shape)
    return [np.asarray(sum(part * random.normal(size=size) for part, size in zip(spread, parts, strict=True))) for _ in range(TABLES)]


def covered(widths: list[tuple[float, float]]) -> float:
    return sum(abs(mean) <= half for mean, half in widths) / len(widths)


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_cover_the_truth_whatever_differs(shape: tuple[int, int]) -> None:
    for spread in SPREADS:
        found = [estimate(table(values)) for values in drawn(shape, spread)]
        share = covered([(each.mean, each.half_width95) for each in found])
        assert share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / TABLES), (spread, share)


def test_intervals_over_all_trainings_or_over_distillations_alone_do_not() -> None:
    shape, spread = (5, 5), (1.0, 1.0, 1.0)
    pooled = [interval(values.ravel().tolist()) for values in drawn(shape, spread)]
    means = [interval(values.mean(axis=1).tolist()) for values in drawn((10, 3), (0.3, 1.0, 0.3))]
    assert covered(pooled) < 0.75 and covered(means) < 0.5, "why both levels count"


def test_means_differences_and_gains_use_both_levels() -> None:
    random = np.random.default_rng(3)
    ours, theirs, control = random.uniform(size=(3, 4)), random.uniform(size=(3, 4)), random.uniform(size=(1, 4))
    for found, values, n in (
        (mean_accuracy(measured(ours)), ours, 12),
        (paired_difference(measured(ours), measured(theirs, "unpruned")), ours - theirs, 3),
        (gain_over(measured(ours), measured(control, "random")), ours - control, 4),
    ):
        mean, error, freedom = slow(values)
        assert (found.mean, found.half_width95, found.n) == (
            pytest.approx(mean),
            pytest.approx(stats.t.ppf(0.975, freedom) * error),
            n,
        )
