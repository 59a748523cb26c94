"""Tasks of stage evaluate: train on a small set, test on the real test split."""

from __future__ import annotations

from bilp.config import BaselineName, EvaluateConfig
from tasks.execution import device
from tasks.progress_bars import progress
from tasks.task import stage


@stage("train teacher")
def train_teacher(dataset_uri: str, config: EvaluateConfig, root: str) -> str:
    """Train the network that gives soft labels and features on all real data; its URI."""
    from bilp import evaluate

    return evaluate.train_teacher(dataset_uri, config.teacher, config.seed, root, device(), progress())


@stage("evaluate {arm} {experiment}")
def evaluate_synthetic(dataset_uri: str, synthetic_uri: str, arm: str, experiment: int, config: EvaluateConfig, root: str) -> str:
    """Evaluate a synthetic set; the evaluation's URI."""
    from bilp import evaluate

    return evaluate.evaluate_synthetic(dataset_uri, synthetic_uri, arm, experiment, config, root, device(), progress())


@stage("evaluate baseline {baseline}")
def evaluate_baseline(dataset_uri: str, baseline: BaselineName, ipc: int, config: EvaluateConfig, root: str) -> str:
    """Evaluate real data: all of them, or a choice of the synthetic set's size; the evaluation's URI."""
    from bilp import evaluate

    return evaluate.evaluate_baseline(dataset_uri, baseline, ipc, config, root, device(), progress())


@stage("robustness scores")
def robustness(evaluation_uris: dict[str, list[str]], root: str) -> str:
    """The scores of DD-Ranking from evaluations by variant; the table's URI."""
    from bilp import evaluate

    return evaluate.robustness({variant: evaluation_uris[variant] for variant in evaluate.VARIANTS}, root)
