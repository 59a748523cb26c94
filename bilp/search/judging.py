"""Which candidates are better: differences of accuracy on the held-out images, paired with the candidate that prunes least.

Labels of held-out images may be wrong where data are dirty. Suppose a share p of them is, whatever the candidate. If wrong labels are
uniform over the other C - 1 classes, a network that is right about the true class of a share a of the images is told
(1 - p) a + p (1 - a) / (C - 1) right: increasing in a as long as p < (C - 1) / C, so the order of candidates is unchanged, and every
difference is smaller by the same factor 1 - p C / (C - 1). Where a wrong label follows from the true one (cyclic, semantic), a network that
says the true class with probability a and the wrong label's class with probability b is told right on (1 - p) a + p b: one that learned
the noise has a credit of p b, and is taken for better than one whose a is higher by less than p / (1 - p) times the difference in b.
Learning noise is what pruning prevents, so under such noise the search errs towards pruning too little, never too much. Candidates share
the held-out images, the seeds of their distillations and those of their trainings, so what they have in common cancels in pairs.

Held-out images are not filtered by their scores: a criterion would then judge itself. A candidate that keeps what its own score calls
easy is best on what the same score calls easy, whether that is rightly labeled or merely typical, and the search would prune too much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Accuracies = NDArray[np.float64]
"""Of a candidate: `[distillations, trainings]`."""


@dataclass(frozen=True)
class Judgment:
    """A candidate in a rung."""

    candidate: int
    accuracy: float
    difference: float
    """To the reference, the mean over pairs."""
    error: float
    """Standard error of the difference, of the means of its distillations: trainings on one set say nothing about how it was made."""


def judge(accuracies: Mapping[int, Accuracies], reference: int) -> list[Judgment]:
    """All candidates of a rung, the best first; equal ones in the order of `accuracies`."""
    base = accuracies[reference]
    found = [_judgment(candidate, values, base) for candidate, values in accuracies.items()]
    return sorted(found, key=lambda judgment: -judgment.difference)


def _judgment(candidate: int, values: Accuracies, base: Accuracies) -> Judgment:
    differences = (values - base).mean(axis=1)
    error = float(differences.std(ddof=1) / math.sqrt(len(differences)))
    return Judgment(candidate, float(values.mean()), float(differences.mean()), error)


def chosen(last: Sequence[Judgment], reference: int) -> int:
    """The candidate that the last rung decides for: the best of those that are better than the reference by more than the standard error of
    their difference, or else the reference.

    After the rule of one standard error (Breiman et al. 1984): of what cannot be told apart, that which prunes least is taken.
    """
    return next((each.candidate for each in last if each.difference > each.error), reference)
