"""Tasks of stage score: independent trials, then their summary."""

from __future__ import annotations

from bilp.config import ScoreConfig
from bilp.scoring import summary
from bilp.scoring import trial as trials
from tasks.execution import device
from tasks.progress import progress
from tasks.stage import stage


@stage("score trial {trial}")
def score_trial(dataset_uri: str, config: ScoreConfig, trial: int, root: str) -> str:
    """Train once and record every sample's loss; the trial's URI."""
    return trials.score_trial(dataset_uri, config, trial, root, device(), progress())


@stage("summarise {config.trials} trials")
def summarise(dataset_uri: str, config: ScoreConfig, root: str) -> str:
    """One row of criteria per sample, from all trials; the summary's URI."""
    return summary.summarise(dataset_uri, config, root)
