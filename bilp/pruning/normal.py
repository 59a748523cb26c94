"""Functions after which the scores of a criterion are roughly normal among well labeled samples, and among wrongly labeled ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def logarithm(scores: Floats) -> Floats:
    """log s of scores `[N]` that are positive; zeros count as the smallest positive number among them.

    Losses of samples that a network knows lie over several powers of ten near zero, and their logarithms side by side.
    """
    positive = scores[scores > 0]
    return np.log(np.maximum(scores, positive.min() if len(positive) else 1.0))


def itself(scores: Floats) -> Floats:
    """Scores `[N]` as they are: margins are sums over epochs and lie on both sides of zero."""
    return scores
