"""What is known of every sample's label: criteria of the trials, and the mean softmax of all trials in blocks of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilp.artifacts.artifact import Artifact
from bilp.scoring.predictions import read_probabilities
from bilp.suspects.confident import Floats, Integers, class_thresholds, confident_classes

BLOCK = 2**24
"""Probabilities, samples times classes, that are held at a time: 128 MiB in float64."""


@dataclass(frozen=True)
class Evidence:
    """Of N samples: labels, predicted and confident (see `confident_classes`) are classes `[N]`.

    own `[N]`: mean softmax of the label, over the epochs of all trials; other `[N]`: that of the most probable other class.
    statistics: columns `[N]` of the summary of the trials, by name; epochs: of each trial.
    """

    labels: Integers
    predicted: Integers
    confident: Integers
    own: Floats
    other: Floats
    statistics: Mapping[str, Floats]
    epochs: int


@dataclass(frozen=True)
class Softmax:
    """Mean softmax of one trial, as far as it was kept: own `[N]`, classes and probabilities `[N, K]`."""

    own: NDArray[np.float32]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]


def read_softmax(predictions: Sequence[Artifact], classes: int) -> list[Softmax]:
    """What was kept of the mean softmax of each trial: 84 bytes a sample and trial, however many classes there are."""
    return [Softmax(*read_probabilities(artifact, classes)) for artifact in predictions]


def gather(labels: Integers, classes: int, softmax: Sequence[Softmax], statistics: Mapping[str, Floats], epochs: int) -> Evidence:
    """Join trials by the mean of their probabilities; a class that a trial did not keep for a sample counts as 0 there.

    So predictions and thresholds are exact for up to `bilp.scoring.prediction_record.KEPT_CLASSES` classes, and beyond as well for every
    class that reaches a tenth of the probability: no class that was left out is as probable as that.
    """
    own = np.mean([trial.own.astype(np.float64) for trial in softmax], axis=0)
    thresholds = class_thresholds(own, labels, classes)
    predicted, confident = np.empty_like(labels), np.empty_like(labels)
    other = np.empty(len(labels))
    step = max(1, BLOCK // classes)
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        means = _means(softmax, rows, labels[rows], own[rows], classes)
        predicted[rows] = means.argmax(axis=1)
        confident[rows] = confident_classes(means, thresholds)
        means[np.arange(len(means)), labels[rows]] = -np.inf
        other[rows] = means.max(axis=1)
    return Evidence(labels, predicted, confident, own, other, statistics, epochs)


def _means(softmax: Sequence[Softmax], rows: slice, labels: Integers, own: Floats, classes: int) -> Floats:
    """Mean probabilities `[n, C]` of some samples."""
    total = np.zeros((len(labels), classes))
    each = np.arange(len(labels))
    for trial in softmax:
        total[each[:, None], trial.classes[rows]] += trial.probabilities[rows]
    total /= len(softmax)
    total[each, labels] = own
    return total
