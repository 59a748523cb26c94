"""Evaluation: fresh networks are trained on a set and tested on the real test split."""

from bilp.evaluate.metrics import Difference, Measurement, Row, interval, measurements, paired_difference, summary
from bilp.evaluate.stage import evaluate_baseline, evaluate_synthetic

__all__ = [
    "Difference",
    "Measurement",
    "Row",
    "evaluate_baseline",
    "evaluate_synthetic",
    "interval",
    "measurements",
    "paired_difference",
    "summary",
]
