"""How well each score finds labels that were made wrong on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bilp.config.suspects import LABEL_SCORES
from bilp.suspects.evidence import Evidence
from bilp.suspects.label_scores import order
from bilp.truth.metrics import auprc, auroc, precision_at_errors

EFFECT = "effect"
"""The norm of the causal effect, of the samples for which it was measured: a large one is suspicious."""


def quality(evidence: Evidence, effect: Any, wrong: np.ndarray) -> list[Mapping[str, Any]]:
    """Facts about each label score, and about the effect (masked `[N]`, or None), for labels that are `wrong` `[N]`; none if none is."""
    return [
        {
            "score": name,
            "auroc": auroc(suspicion, flags),
            "auprc": auprc(suspicion, flags),
            "precision_at_errors": precision_at_errors(suspicion, flags),
            "samples": len(flags),
        }
        for name, suspicion, flags in _suspicions(evidence, effect, wrong)
        if 0 < flags.sum() < len(flags)
    ]


def _suspicions(evidence: Evidence, effect: Any, wrong: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for name in LABEL_SCORES:
        yield name, -order(name, evidence), wrong
    if effect is not None:
        there = ~np.ma.getmaskarray(effect)
        yield EFFECT, np.asarray(effect)[there], wrong[there]
