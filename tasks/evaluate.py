"""Tasks of stage evaluate: train on a small set, test on the real test split."""

from __future__ import annotations

from bilp.config import Baseline, EvaluateConfig
from tasks.execution import device
from tasks.progress import progress
from tasks.stage import stage


@stage("evaluate {arm} {experiment}")
def evaluate_synthetic(dataset_uri: str, synthetic_uri: str, arm: str, experiment: int, config: EvaluateConfig, root: str) -> str:
    """Evaluate a synthetic set; the evaluation's URI."""
    from bilp import evaluate

    return evaluate.evaluate_synthetic(dataset_uri, synthetic_uri, arm, experiment, config, root, device(), progress())


@stage("evaluate baseline {baseline}")
def evaluate_baseline(dataset_uri: str, baseline: Baseline, ipc: int, config: EvaluateConfig, root: str) -> str:
    """Evaluate real data: all of them, or a random subset of the synthetic set's size; the evaluation's URI."""
    from bilp import evaluate

    return evaluate.evaluate_baseline(dataset_uri, baseline, ipc, config, root, device(), progress())
