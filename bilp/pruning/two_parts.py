"""Whether losses are of two populations, and what share lies in the higher one: an exact split in two by least squares.

Wrongly labeled samples keep high losses under networks that learn what labels have in common, so that log losses of a data set with
wrong labels have two modes. The best split of a line in two parts (1-D 2-means) is between two neighbors of the sorted values, and
cumulative sums give all n - 1 candidates at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# How far apart the parts must lie, as Ashman's D (sqrt 2 times the distance of the means over the root of the summed variances).
# Halves of a normal distribution have 2.6, those of a uniform one 3.5.
APART = 3.6
# A label that a network gives half of the probability: beyond this loss, on average, it doubts the labels of the higher part.
DOUBT = math.log(2.0)
SMALLEST = 1e-12  # losses below it are rounding


@dataclass(frozen=True)
class Split:
    """Two parts of values, the higher one above `threshold`."""

    threshold: float
    separation: float
    """Ashman's D; infinite if values are equal within both parts, 0 if all are equal."""
    high_mean: float
    """Mean of the higher part."""


def split(values: Floats) -> Split:
    """The split of values `[n]` in two with the least sum of squared distances to the means of both parts."""
    ordered = np.sort(values)
    n = len(ordered)
    if n < 2 or ordered[0] == ordered[-1]:
        return Split(float("inf"), 0.0, float("nan"))
    centered = ordered - ordered.mean()
    left = np.arange(1, n)
    sums, squares = np.cumsum(centered)[:-1], float(np.square(centered).sum())
    within = squares - sums**2 / left - sums**2 / (n - left)  # the whole sum is 0, so that of the right part is -sums
    within[ordered[1:] == ordered[:-1]] = np.inf
    cut = int(within.argmin()) + 1
    low, high = ordered[:cut], ordered[cut:]
    spread = math.sqrt(low.var() + high.var())
    distance = math.sqrt(2.0) * float(high.mean() - low.mean())
    separation = distance / spread if spread > 0 else float("inf")
    return Split(float(ordered[cut - 1] + ordered[cut]) / 2, separation, float(high.mean()))


def doubted(losses: Floats) -> NDArray[np.bool_]:
    """Which of the losses `[N]` lie in the population of doubted labels; none unless there are two that lie apart."""
    logs = np.log(np.maximum(losses, SMALLEST))
    found = split(logs)
    if found.separation <= APART or found.high_mean <= math.log(DOUBT):
        return np.zeros(len(losses), dtype=np.bool_)
    return logs > found.threshold
