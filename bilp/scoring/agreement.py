"""How often networks that are sure agree with the given labels: an estimate of how many labels are right."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bilp.scoring.criteria import Trajectory

SUREST = 0.1
"""Share of the samples that networks are surest about."""
FEWEST = 20
"""Samples that this has to be at least, so that the share among them says something."""


def agreement(trials: Iterable[Trajectory]) -> float | None:
    """The share of the SUREST samples, after the last epoch, whose given label has the largest logit: the mean over trials.

    A network that is sure of a class is right about nearly all of these samples, however weak it is elsewhere, as long as it has
    not learned labels by heart: what disagrees there is mostly the label (the anchor points of Patrini et al. 2017). The probability
    p_top of the likeliest class follows from loss and margin: log p_top = -loss + max(0, -margin). None for too few samples.
    """
    found = []
    for trial in trials:
        count = int(SUREST * trial.samples)
        if count < FEWEST:
            return None
        margins = trial.margins[-1].astype(np.float64)
        surest = np.argsort(trial.losses[-1] - np.maximum(0.0, -margins), kind="stable")[:count]
        found.append(float(np.mean(margins[surest] > 0)))
    return float(np.mean(found))
