"""Tasks of stage score: independent trials, then their summary."""

from __future__ import annotations

from bilp.config import ScoreConfig
from tasks.execution import device
from tasks.progress_bars import progress
from tasks.task import stage


@stage("score trial {trial}")
def score_trial(dataset_uri: str, config: ScoreConfig, trial: int, root: str) -> str:
    """Train once and record what a network makes of the samples; the trial's URI."""
    from bilp.scoring.trial import score_trial as run_trial

    return run_trial(dataset_uri, config, trial, root, device(), progress())


@stage("summarize {config.trials} trials")
def summarize(dataset_uri: str, config: ScoreConfig, root: str) -> str:
    """One row of criteria per sample, from all trials; the summary's URI."""
    from bilp.scoring.summary import summarize as join_trials

    return join_trials(dataset_uri, config, root)
