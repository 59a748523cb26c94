"""How well each score finds labels that were made wrong on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bilp.config.suspects import LABEL_SCORES
from bilp.suspects.evidence import Evidence
from bilp.suspects.fates import Fates
from bilp.suspects.label_scores import order
from bilp.truth.metrics import auprc, auroc, precision_at_errors

EFFECTS = {"effect": 1.0, "signed_effect": -1.0}
"""Fields of `Fates`, and the sign that makes large values suspicious: a large effect, and one that does harm. Of the samples for which
they were measured."""


def quality(evidence: Evidence, fates: Fates, wrong: np.ndarray) -> list[Mapping[str, Any]]:
    """Facts about each label score, and about effects that were measured, for labels that are `wrong` `[N]`; none if none is."""
    return [
        {
            "score": name,
            "auroc": auroc(suspicion, flags),
            "auprc": auprc(suspicion, flags),
            "precision_at_errors": precision_at_errors(suspicion, flags),
            "samples": len(flags),
        }
        for name, suspicion, flags in _suspicions(evidence, fates, wrong)
        if 0 < flags.sum() < len(flags)
    ]


def _suspicions(evidence: Evidence, fates: Fates, wrong: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for name in LABEL_SCORES:
        yield name, -order(name, evidence), wrong
    for name, sign in EFFECTS.items():
        effect = getattr(fates, name)
        if effect is not None:
            there = ~np.ma.getmaskarray(effect)
            yield name, sign * np.asarray(effect)[there], wrong[there]
