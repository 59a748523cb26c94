"""Whether images that were added are like those that the kept networks learned: what is compared, and what is tolerated.

Scores of new images by networks that have not learned them stand beside scores of images that were learned. That is what a scoring
of everything would have given as long as the new images are like the old ones and are not too many. Either is checked here, and
where it does not hold everything is scored again.

Kolmogorov and Smirnov's two-sample distance D is the largest difference of two empirical distribution functions. Images that a network
did not learn have somewhat greater losses than those that it learned, so that D > 0 is expected of equal distributions, too: a class has
drifted if D exceeds both TOLERATED and what chance alone explains at level ALPHA, shared out among the classes (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TOLERATED = 0.3
"""Distance of two distributions of scores up to which they count as equal."""
ALPHA = 0.001
"""Probability that equal distributions differ by more than chance explains, in any class."""
MOST_UNSEEN = 0.3
"""Share of a data set that the networks need not have learned."""
MOST_GONE = 0.3
"""Share of what the networks learned that may have left the data set."""


@dataclass(frozen=True)
class Drift:
    """Old and new scores of each class: counts `[C]`, distances `[C]`, and what is tolerated of each `[C]`.

    The last entry, C - 1, is of all classes together: the place of each new score among the old ones of its class, against
    the uniform distribution.
    """

    old: Integers
    new: Integers
    distance: Floats
    tolerated: Floats

    @property
    def drifted(self) -> NDArray[np.bool_]:
        """Which entries exceed what is tolerated, `[C]`."""
        return self.distance > self.tolerated


def drift(old: Floats, old_labels: Integers, new: Floats, new_labels: Integers, classes: int) -> Drift:
    """Compare scores `[n]` of samples that were scored before with scores `[m]` of new ones, class by class.

    Args:
        old: Scores of the samples that were taken over.
        old_labels: Their classes `[n]`.
        new: Scores of those that were added.
        new_labels: Their classes `[m]`.
        classes: How many there are.
    """
    counts = [np.bincount(labels, minlength=classes).astype(np.int64) for labels in (old_labels, new_labels)]
    distances, places = np.zeros(classes + 1), []
    for label in np.flatnonzero((counts[0] > 0) & (counts[1] > 0)):
        before, after = np.sort(old[old_labels == label]), np.sort(new[new_labels == label])
        distances[label] = distance(before, after)
        places.append(middle_ranks(before, after))
    if places:
        distances[classes] = uniform_distance(np.sort(np.concatenate(places)))
    totals = [np.append(count, count.sum()) for count in counts]
    return Drift(totals[0], totals[1], distances, tolerated(totals[0], totals[1], classes))


def distance(one: Floats, other: Floats) -> float:
    """Kolmogorov and Smirnov's distance of two samples, each ascending and not empty."""
    points = np.concatenate([one, other])
    steps = [np.searchsorted(values, points, side="right") / len(values) for values in (one, other)]
    return float(np.abs(steps[0] - steps[1]).max())


def middle_ranks(old: Floats, new: Floats) -> Floats:
    """Where new scores `[m]` lie among old ones `[n]` (ascending), from 0 to 1: the share below, and half of that which is equal."""
    return (np.searchsorted(old, new, side="left") + np.searchsorted(old, new, side="right")) / (2 * len(old))


def uniform_distance(places: Floats) -> float:
    """Kolmogorov and Smirnov's distance of numbers `[m]` (ascending) from the uniform distribution on [0, 1]."""
    count = len(places)
    steps = np.arange(1, count + 1) / count
    return float(max((steps - places).max(), (places - steps + 1 / count).max()))


def tolerated(old: Integers, new: Integers, classes: int) -> Floats:
    """The greatest distances `[C]` at which samples of these sizes count as equal: see TOLERATED and ALPHA."""
    level = math.sqrt(-math.log(ALPHA / 2 / (classes + 1)) / 2)
    smaller = np.minimum(old, new)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = level * np.sqrt((old + new) / (old.astype(np.float64) * new))
    return np.where(smaller > 0, np.maximum(chance, TOLERATED), np.inf)
