"""The functions of the label scores (`bilp.config.suspects.LABEL_SCORES`), each `[N]` and low where a label looks wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np

from bilp.config.suspects import LABEL_SCORES
from bilp.registry import resolve
from bilp.suspects.confident import Floats
from bilp.suspects.evidence import Evidence


def label_score(name: str, evidence: Evidence) -> Floats:
    """A label score `[N]` in 0..1."""
    return np.clip(_function(LABEL_SCORES[name].score)(evidence), 0.0, 1.0)


def order(name: str, evidence: Evidence) -> Floats:
    """What a label score ranks by `[N]`."""
    return _function(LABEL_SCORES[name].order)(evidence)


def _function(name: str) -> Callable[[Evidence], Floats]:
    return cast(Callable[[Evidence], Floats], resolve(name))


def aum(evidence: Evidence) -> Floats:
    """Area under the margin (Pleiss et al. 2020), mean over the trials."""
    return evidence.statistics["aum"]


def logistic_aum(evidence: Evidence) -> Floats:
    """1 / (1 + exp(-aum)): the softmax of the label among itself and one rival whose logit is lower by the margin."""
    likelihood: Floats = np.exp(-np.logaddexp(0.0, -aum(evidence)))
    return likelihood


def self_confidence(evidence: Evidence) -> Floats:
    """p_y of the mean softmax p."""
    return evidence.own


def margin(evidence: Evidence) -> Floats:
    """p_y - max_{k != y} p_k."""
    return evidence.own - evidence.other


def normalized_margin(evidence: Evidence) -> Floats:
    """(p_y - max_{k != y} p_k + 1) / 2."""
    return (margin(evidence) + 1) / 2


def early_loss(evidence: Evidence) -> Floats:
    """Minus loss_init."""
    return -evidence.statistics["loss_init"]


def early_likelihood(evidence: Evidence) -> Floats:
    """exp(-loss_init), a geometric mean of p_y."""
    likelihood: Floats = np.exp(early_loss(evidence))
    return likelihood


def late_loss(evidence: Evidence) -> Floats:
    """Minus loss_converge."""
    return -evidence.statistics["loss_converge"]


def late_likelihood(evidence: Evidence) -> Floats:
    """exp(-loss_converge)."""
    likelihood: Floats = np.exp(late_loss(evidence))
    return likelihood


def error_norm(evidence: Evidence) -> Floats:
    """Minus EL2N."""
    return -evidence.statistics["el2n"]


def small_error(evidence: Evidence) -> Floats:
    """1 - EL2N / sqrt(2), which is the norm of a certain error."""
    return 1 + error_norm(evidence) / math.sqrt(2.0)


def forgotten(evidence: Evidence) -> Floats:
    """Minus the number of forgetting events; a sample that was never learned counts one for every epoch."""
    return -evidence.statistics["forgetting"]


def remembered(evidence: Evidence) -> Floats:
    """1 - forgetting events / epochs."""
    return 1 + forgotten(evidence) / evidence.epochs
