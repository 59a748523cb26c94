"""Labels that scoring networks are sure of: what images get in place of a label that they contradict.

Relabeling of RDC (Kim & Song, ICCV 2025): an image that cleaning leaves out gets the class that the network predicts, if its probability
is at least a threshold, 0.95 there. Here the probability is a mean over the last epochs of every trial, so that networks have to agree.
It follows from what trials record anyway: with z the logits, loss = log sum exp z - z_y and margin = z_y - max of the other z, the
predicted class has the probability exp(-loss) where it is the label y, and exp(-loss - margin) where it is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilp.suspects.confident import Floats, Integers

BLOCK = 2**24
"""Probabilities, samples times classes, that are held at a time: 128 MiB in float64."""


@dataclass(frozen=True)
class Predicted:
    """One trial over its last E epochs, arrays `[E, N]`: loss and margin of the label, and the class with the largest logit."""

    loss: NDArray[np.floating]
    margin: NDArray[np.floating]
    predicted: NDArray[np.integer]

    def probability(self, labels: Integers, rows: slice) -> Floats:
        """Of the predicted class `[E, n]`, of the samples `rows` of all with these labels `[N]`."""
        loss, margin = (values[:, rows].astype(np.float64) for values in (self.loss, self.margin))
        other = self.predicted[:, rows] != labels[rows]
        return np.asarray(np.exp(-np.maximum(loss + np.where(other, margin, 0.0), 0.0)))


@dataclass(frozen=True)
class Surest:
    """Of N samples the class `[N]` that networks give the most probability to, and how much `[N]`, at least."""

    classes: Integers
    confidence: Floats


def surest(trials: Sequence[Predicted], labels: Integers, classes: int) -> Surest:
    """The class of each sample with the highest mean probability over epochs and trials.

    A class counts with nothing in an epoch in which another one is predicted, so that `confidence` is a lower bound of the mean; above one
    half it is that of the most probable class.

    Args:
        trials: what each says of the samples.
        labels: of the samples `[N]`, which losses and margins are of.
        classes: C, how many there are.
    """
    found, confidence = np.empty(len(labels), dtype=np.int64), np.empty(len(labels))
    epochs, step = sum(len(trial.loss) for trial in trials), max(1, BLOCK // classes)
    for start in range(0, len(labels), step):
        rows = slice(start, min(start + step, len(labels)))
        total = np.zeros((rows.stop - start, classes))
        each = np.arange(len(total))
        for trial in trials:
            for predicted, probability in zip(trial.predicted[:, rows], trial.probability(labels, rows), strict=True):
                total[each, predicted] += probability
        found[rows] = total.argmax(axis=1)
        confidence[rows] = total.max(axis=1) / epochs
    return Surest(found, confidence)


def relabeled(sure: Surest, labels: Integers, least: float, left_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of N samples get the surest class for their label: those `left_out` `[N]` whose networks say another one with at least so
    much probability."""
    return np.asarray(left_out & (sure.classes != labels) & (sure.confidence >= least))
