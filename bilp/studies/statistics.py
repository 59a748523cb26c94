"""What a study may conclude: intervals over distillations and trainings, paired tests, and corrections for many of them.

**Intervals.** Trainings on one synthetic set resemble each other, so they are no independent evidence about how the set was made. With
several seeds the interval is Student's over the means of the seeds, with one degree of freedom less than there are seeds: of a balanced
design of distillations and trainings within them it holds both variances (Searle, Casella and McCulloch, Variance Components, 1992,
section 3.5). With one seed it is over the trainings, and says nothing of other distillations.

**Differences** are paired by seed: arms of a cell share data, initial networks and the order of batches. The test is the paired t
test over the seeds' mean differences.

**Many tests.** P values of one family (all cells and arms against one reference on one network) are adjusted by Holm's procedure (Holm,
Scand. J. Statist. 6, 1979), which bounds the chance of any false finding in the family.

**Equivalence** is two one-sided t tests at 5 % (Schuirmann, 1987): the 90 % interval of the difference lies within the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from bilp.evaluate.metrics import Difference, interval

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


def accuracy(found: BySeed) -> Accuracy:
    """Of an arm in a cell. Raises ValueError if there is no training."""
    means = [fmean(values) for values in found.values()]
    trainings = [value for values in found.values() for value in values]
    value = Difference(*interval(means), len(means)) if len(means) > 1 else Difference(*interval(trainings), len(trainings))
    spreads = [variance(values) for values in found.values() if len(values) > 1]
    within = fmean(spreads) if spreads else math.nan
    each = fmean(len(values) for values in found.values())
    between = math.nan if len(means) < 2 else math.sqrt(max(0.0, variance(means) - (0.0 if math.isnan(within) else within / each)))
    return Accuracy(value, len(means), len(trainings), between, math.sqrt(within))


def difference(ours: BySeed, theirs: BySeed) -> Difference | None:
    """Mean paired difference over the seeds that both have; with one seed over its pairs of trainings. None if they have none."""
    common = [seed for seed in ours if seed in theirs]
    if not common:
        return None
    if len(common) > 1:
        values = [fmean(ours[seed]) - fmean(theirs[seed]) for seed in common]
    else:
        values = [one - other for one, other in zip(ours[common[0]], theirs[common[0]], strict=False)]
    return Difference(*interval(values), len(values))


def p_value(found: Difference) -> float:
    """Of a two-sided t test of no difference, from its mean, its 95 % interval and the number of values; NaN for a single one."""
    from scipy.special import stdtr, stdtrit

    if found.n < 2:
        return math.nan
    if found.half_width95 == 0.0:
        return 1.0 if found.mean == 0.0 else 0.0
    error = found.half_width95 / stdtrit(found.n - 1, 0.975)
    return 2.0 * float(stdtr(found.n - 1, -abs(found.mean / error)))


def holm(values: Sequence[float]) -> list[float]:
    """P values adjusted by Holm's procedure: the k-th smallest of m times m - k + 1, never below a smaller one, at most 1. NaN stays."""
    order = sorted((value, place) for place, value in enumerate(values) if not math.isnan(value))
    adjusted, least = [math.nan] * len(values), 0.0
    for rank, (value, place) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * value))
        adjusted[place] = least
    return adjusted


def equivalent(found: Difference, tolerance: float) -> bool:
    """Whether two one-sided t tests at 5 % show a difference within +- `tolerance`, a fraction: its 90 % interval lies inside."""
    from scipy.special import stdtrit

    if found.n < 2 or not math.isfinite(found.half_width95):
        return False
    half = found.half_width95 * float(stdtrit(found.n - 1, 1 - LEVEL) / stdtrit(found.n - 1, 0.975))
    return abs(found.mean) + half < tolerance


def comparisons(pairs: Sequence[tuple[BySeed, BySeed]], tolerance: float | None) -> list[Comparison | None]:
    """One family of comparisons, ours with theirs, in their order; None for one without a common seed."""
    found = [difference(ours, theirs) for ours, theirs in pairs]
    seeds = [len([seed for seed in ours if seed in theirs]) for ours, theirs in pairs]
    ps = [p_value(each) if each is not None and count > 1 else math.nan for each, count in zip(found, seeds, strict=True)]
    told = zip(found, seeds, ps, holm(ps), strict=True)
    return [
        None
        if each is None
        else Comparison(each, count, p, adjusted, equivalent(each, tolerance) if tolerance is not None and count > 1 else None)
        for each, count, p, adjusted in told
    ]
