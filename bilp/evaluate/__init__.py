"""Evaluation: fresh networks are trained on a set and tested on the real test split."""

from bilp.evaluate.evaluation import evaluate_baseline, evaluate_synthetic
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
from bilp.evaluate.robustness import VARIANTS, augmentation_robust_score, label_robust_score, load_robustness, robustness, variants
from bilp.evaluate.teacher import train_teacher

__all__ = [
    "VARIANTS",
    "Difference",
    "Measurement",
    "PairedTest",
    "Row",
    "augmentation_robust_score",
    "evaluate_baseline",
    "evaluate_synthetic",
    "interval",
    "label_robust_score",
    "load_robustness",
    "measurements",
    "paired_difference",
    "paired_test",
    "robustness",
    "summary",
    "train_teacher",
    "variants",
]
