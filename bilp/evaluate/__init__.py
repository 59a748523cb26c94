"""Evaluation: fresh networks are trained on a set and tested on the real test split."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bilp.evaluate.metrics import (
    Difference,
    Measurement,
    PairedTest,
    Row,
    interval,
    measurements,
    paired_difference,
    paired_test,
    summary,
)

if TYPE_CHECKING:
    from bilp.evaluate.evaluation import evaluate_baseline, evaluate_network, evaluate_synthetic
    from bilp.evaluate.robustness import VARIANTS, augmentation_robust_score, label_robust_score, load_robustness, variants
    from bilp.evaluate.teacher import train_teacher

__all__ = [
    "VARIANTS",
    "Difference",
    "Measurement",
    "PairedTest",
    "Row",
    "augmentation_robust_score",
    "evaluate_baseline",
    "evaluate_network",
    "evaluate_synthetic",
    "interval",
    "label_robust_score",
    "load_robustness",
    "measurements",
    "paired_difference",
    "paired_test",
    "summary",
    "train_teacher",
    "variants",
]

_TRAINING = {
    **dict.fromkeys(("evaluate_baseline", "evaluate_network", "evaluate_synthetic"), "evaluation"),
    "train_teacher": "teacher",
}
"""What trains networks, by the module that it is in."""


def __getattr__(name: str) -> Any:
    """What needs torch, imported when it is asked for: who only reads evaluations need not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"bilp.evaluate.{_TRAINING.get(name, 'robustness')}"), name)
