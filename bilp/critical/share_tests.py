"""The tests of a critical share: is a share of the samples as good as all of them, within a tolerance?

Distillations are paired: the k-th of a share and the k-th of all samples have the same seeds, and their trainings too. The values are
the means over trainings of each pair's difference d (share minus whole); trainings on one set say nothing about how it was made.

* **As good**: the null hypothesis "worse by at least the tolerance" is tested one-sidedly by Student's t (non-inferiority). Two-sided
  equivalence would refuse a share that is better than the whole, as a selection is where labels are wrong.
* **Worse**: the null hypothesis "worse by at most the tolerance" is tested in the same way.

Shares are tested in an order that is fixed beforehand, from the largest down, until one fails: no share is looked at before every larger
one has passed, so all of these tests together err with the probability of one (fixed-sequence testing, Maurer et al. 1995), without any
correction for their number. The shares that are worse are found in the same way from the smallest up. What has passed is the critical
share, and the true one lies above the largest share that was shown to be worse: an interval made of two tests, each of the level.

No bootstrap: it would resample distillations, and of the few that there are it makes too few different samples and intervals that are
too short.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilp.evaluate.uncertainty import over, probability_below

Differences = NDArray[np.float64]
"""Of the distillations of a share to those of all samples, `[n]`, as fractions of accuracy."""


@dataclass(frozen=True)
class Compared:
    """A share and its two tests."""

    share: float
    difference: float
    error: float
    """Standard error of the difference."""
    p_as_good: float
    """Probability of such a difference or a larger one if the share were worse by the tolerance."""
    p_worse: float
    """Probability of such a difference or a smaller one if it were."""


@dataclass(frozen=True)
class Critical:
    """The outcome for a criterion."""

    share: float
    """The smallest share that was shown to be as good; 1 if none but the whole."""
    low: float
    """The largest share that was shown to be worse; 0 if none."""
    crossing: float
    """Where the mean difference falls below the tolerance, between two shares by their logarithms: an estimate; 0 if nowhere."""


def compared(share: float, differences: Differences, tolerance: float) -> Compared:
    """Both tests of a share. Raises ValueError for fewer than two differences."""
    n = len(differences)
    if n < 2:
        raise ValueError(f"{n} pairs: a test needs at least two")
    found = over(differences.tolist())
    worse = probability_below(found.mean + tolerance, found.error, found.freedom)
    return Compared(share, found.mean, found.error, probability_below(-found.mean - tolerance, found.error, found.freedom), worse)


def critical(shares: Sequence[Compared], tolerance: float, level: float) -> Critical:
    """The critical share of those that were compared, in any order; the whole, 1, is as good as itself."""
    falling = sorted(shares, key=lambda each: -each.share)
    as_good = _first(falling, lambda each: each.p_as_good <= level)
    worse = _first(falling[::-1], lambda each: each.p_worse <= level)
    return Critical(as_good[-1].share if as_good else 1.0, worse[-1].share if worse else 0.0, _crossing(falling, tolerance))


def _first(shares: Sequence[Compared], passes: Callable[[Compared], bool]) -> list[Compared]:
    """Those that pass before the first that does not."""
    return list(itertools.takewhile(passes, shares))


def _crossing(falling: Sequence[Compared], tolerance: float) -> float:
    larger, at_larger = 1.0, 0.0
    for each in falling:
        if each.difference < -tolerance:
            part = (at_larger + tolerance) / (at_larger - each.difference)
            return float(larger * (each.share / larger) ** part)
        larger, at_larger = each.share, each.difference
    return 0.0
