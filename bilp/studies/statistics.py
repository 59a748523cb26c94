"""What a study may conclude: intervals over distillations and trainings, paired tests, and corrections for many of them.

**Intervals.** Trainings on one synthetic set resemble each other, so they are no independent evidence about how the set was made: a seed of
the study is a distillation, and `bilp.evaluate.uncertainty` says what an interval over several of them is. Where each seed has trainings of
its own, it is Student's over the means of the seeds, which holds the variances of distillations and of trainings within them (Searle,
Casella and McCulloch, Variance Components, 1992, section 3.5). Where the same initial networks and orders of batches are trained on the set
of every seed, their luck does not average out over seeds, and the crossed two-way model adds it. With one seed the interval is over its
trainings, and says nothing of other distillations.

**Differences** are paired by seed: arms of a cell share data, initial networks and the order of batches. Intervals and the paired t
test are of these differences, by the same model.

**Many tests.** P values of one family (all cells and arms against one reference on one network) are adjusted by Holm's procedure (Holm,
Scand. J. Statist. 6, 1979), which bounds the chance of any false finding in the family.

**Equivalence** is two one-sided t tests at 5 % (Schuirmann, 1987): the 90 % interval of the difference lies within the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from bilp.evaluate.metrics import Difference
from bilp.evaluate.uncertainty import Estimate, estimate, p_value, probability_below

LEVEL = 0.05
"""Of tests."""

BySeed = Mapping[int, Sequence[float]]
"""Accuracies of the trainings of one arm in one cell, by seed; trainings in their order."""


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy as a fraction, with its interval over seeds, or over trainings where there is one seed."""

    value: Difference
    """n counts seeds, or trainings where there is one seed."""
    seeds: int
    trainings: int
    between: float
    """Standard deviation between seeds, what trainings vary taken out; NaN with one seed."""
    within: float
    """Standard deviation of trainings on one set; NaN where there is one each."""


@dataclass(frozen=True)
class Comparison:
    """A paired difference to a reference, over the seeds that both have."""

    value: Difference
    seeds: int
    p: float
    """Of the paired t test; NaN with fewer than two seeds."""
    adjusted: float
    """The same by Holm's procedure; NaN likewise."""
    equivalent: bool | None
    """Whether the two are shown to be equal within the tolerance; None without a tolerance or with one seed."""

    @property
    def significant(self) -> bool:
        """Whether it remains beyond chance among all comparisons of its family."""
        return self.adjusted < LEVEL


def accuracy(found: BySeed, crossed: bool = False) -> Accuracy:
    """Of an arm in a cell; `crossed` says whether all seeds share their trainings. Raises ValueError if there is no training."""
    means = [fmean(values) for values in found.values()]
    trainings = sum(map(len, found.values()))
    told = _estimate(found, crossed)
    spreads = [variance(values) for values in found.values() if len(values) > 1]
    within = fmean(spreads) if spreads else math.nan
    each = fmean(len(values) for values in found.values())
    between = math.nan if len(means) < 2 else math.sqrt(max(0.0, variance(means) - (0.0 if math.isnan(within) else within / each)))
    value = Difference(told.mean, told.half_width95, len(means) if len(means) > 1 else trainings)
    return Accuracy(value, len(means), trainings, between, math.sqrt(within))


def difference(ours: BySeed, theirs: BySeed, crossed: bool = False) -> Estimate | None:
    """Mean paired difference over the seeds that both have; with one seed over its pairs of trainings. None if they have none."""
    common = [seed for seed in ours if seed in theirs]
    if not common:
        return None
    return _estimate({seed: [one - other for one, other in zip(ours[seed], theirs[seed], strict=False)] for seed in common}, crossed)


def _estimate(found: BySeed, crossed: bool) -> Estimate:
    return estimate({(seed, ("" if crossed else str(seed), k)): value for seed, of in found.items() for k, value in enumerate(of)})


def holm(values: Sequence[float]) -> list[float]:
    """P values adjusted by Holm's procedure: the k-th smallest of m times m - k + 1, never below a smaller one, at most 1. NaN stays."""
    order = sorted((value, place) for place, value in enumerate(values) if not math.isnan(value))
    adjusted, least = [math.nan] * len(values), 0.0
    for rank, (value, place) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * value))
        adjusted[place] = least
    return adjusted


def equivalent(found: Estimate, tolerance: float) -> bool:
    """Whether two one-sided t tests at 5 % show a difference within +- `tolerance`, a fraction: its 90 % interval lies inside."""
    if math.isinf(found.error):
        return False
    return probability_below(abs(found.mean) - tolerance, found.error, found.freedom) < LEVEL


def comparisons(pairs: Sequence[tuple[BySeed, BySeed]], tolerance: float | None, crossed: bool = False) -> list[Comparison | None]:
    """One family of comparisons, ours with theirs, in their order; None for one without a common seed."""
    found = [difference(ours, theirs, crossed) for ours, theirs in pairs]
    seeds = [[seed for seed in ours if seed in theirs] for ours, theirs in pairs]
    ps = [p_value(each) if each is not None and len(common) > 1 else math.nan for each, common in zip(found, seeds, strict=True)]
    told: list[Comparison | None] = []
    for each, common, (ours, theirs), p, adjusted in zip(found, seeds, pairs, ps, holm(ps), strict=True):
        if each is None:
            told.append(None)
            continue
        several = len(common) > 1
        values = len(common) if several else min(len(ours[common[0]]), len(theirs[common[0]]))
        same = equivalent(each, tolerance) if tolerance is not None and several else None
        told.append(Comparison(Difference(each.mean, each.half_width95, values), len(common), p, adjusted, same))
    return told
