"""Label scores: how good the label of a sample looks, from 0 (bad) to 1, as users of cleanlab know them. One entry each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from bilp.registry import EntryName, Registry
from bilp.suspects.confident import Floats
from bilp.suspects.evidence import Evidence


@dataclass(frozen=True)
class LabelScore:
    """A score of labels."""

    name: str
    title: str
    """What it is called on a page."""
    order: Callable[[Evidence], Floats]
    """What samples are ranked by `[N]`, low = bad, with all the digits there are."""
    score: Callable[[Evidence], Floats]
    """The same order in 0..1 `[N]`; where it saturates, equal values may hide differences of `order`."""


def _margin(evidence: Evidence) -> Floats:
    return evidence.own - evidence.other


def _logistic(values: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -values))


LABEL_SCORES = Registry(
    "label score",
    LabelScore,
    (
        # The share of the label among the two classes that a mean margin of logits compares: below 0.5 another class wins.
        LabelScore(
            "aum",
            "area under the margin",
            lambda evidence: evidence.statistics["aum"],
            lambda evidence: _logistic(evidence.statistics["aum"]),
        ),
        LabelScore("self_confidence", "self-confidence", lambda evidence: evidence.own, lambda evidence: evidence.own),
        LabelScore("normalized_margin", "normalized margin", _margin, lambda evidence: (_margin(evidence) + 1) / 2),
        # exp of a mean loss is the geometric mean of the label's probability.
        LabelScore(
            "loss_init",
            "early loss",
            lambda evidence: -evidence.statistics["loss_init"],
            lambda evidence: np.exp(-evidence.statistics["loss_init"]),
        ),
        LabelScore(
            "loss_converge",
            "late loss",
            lambda evidence: -evidence.statistics["loss_converge"],
            lambda evidence: np.exp(-evidence.statistics["loss_converge"]),
        ),
        LabelScore(
            "el2n",
            "EL2N",
            lambda evidence: -evidence.statistics["el2n"],
            lambda evidence: 1 - evidence.statistics["el2n"] / np.sqrt(2.0),
        ),
        LabelScore(
            "forgetting",
            "forgetting",
            lambda evidence: -evidence.statistics["forgetting"],
            lambda evidence: 1 - evidence.statistics["forgetting"] / evidence.epochs,
        ),
    ),
)
"""By name; the first is the default."""

DEFAULT_SCORE = next(iter(LABEL_SCORES))
LabelScoreName = Annotated[str, EntryName("bilp.suspects.label_scores:LABEL_SCORES")]


def label_score(name: str, evidence: Evidence) -> Floats:
    """Scores in 0..1 `[N]`, low = bad."""
    return np.clip(LABEL_SCORES[name].score(evidence), 0.0, 1.0)
