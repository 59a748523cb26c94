"""Confident learning (Northcutt, Jiang and Chuang 2021): which samples count as labeled wrongly, and how many these are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

UNSURE = -1
"""In place of a class: that no class reaches its threshold."""


def class_thresholds(own: Floats, labels: Integers, classes: int) -> Floats:
    """t_k `[C]`: the mean probability of class k over the samples labeled k (eq. 2); infinite for a class without samples.

    own `[N]` are the probabilities of the samples' labels `[N]`.
    """
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=own, minlength=classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def confident_classes(probabilities: Floats, thresholds: Floats) -> Integers:
    """The most probable `[n]` of the classes that reach their threshold (eq. 1), the first of equal ones; UNSURE if none does.

    probabilities `[n, C]`, thresholds `[C]`.
    """
    reached = np.where(probabilities >= thresholds, probabilities, -np.inf)
    found = reached.argmax(axis=1)
    return np.where(np.isneginf(reached.max(axis=1)), UNSURE, found)


def estimated_errors(labels: Integers, confident: Integers) -> int:
    """How many samples are confidently of another class than their label: the sum of the joint's counts off its diagonal."""
    return int(((confident != UNSURE) & (confident != labels)).sum())
