"""Stage score: one training trial, published as a Parquet table of every sample's loss after every epoch."""

from __future__ import annotations

from typing import Any

from bilp.config import ScoreConfig
from bilp.data import Dataset, open_dataset
from bilp.errors import ConfigError
from bilp.manifest import find, provenance, publish
from bilp.progress import Progress, silent
from bilp.scoring.criteria import Trajectory
from bilp.scoring.record import TRIAL, TRIAL_FILE, training_settings, trajectory_table, trial_key, trial_uri
from bilp.scoring.train import train_trial
from bilp.tables import TRAJECTORY, encode


def score_trial(dataset_uri: str, config: ScoreConfig, trial: int, root: str, device: str = "cpu", progress: Progress = silent) -> str:
    """Run trial number `trial` (from 0) of `config` and return its URI; a trial that is there already is not repeated.

    Raises ConfigError for a trial beyond config.trials and Diverged if the training leaves the finite numbers.
    """
    if not 0 <= trial < config.trials:
        raise ConfigError(f"trial {trial} does not exist: score.trials = {config.trials}, counted from 0")
    dataset = open_dataset(dataset_uri)
    uri = trial_uri(root, dataset.fingerprint, config, trial)
    key = trial_key(dataset.fingerprint, config, trial)
    if find(uri, TRIAL, key) is not None:
        return uri
    trajectory = train_trial(dataset, config, trial, device, progress)
    settings = training_settings(config)
    origin = {**provenance(), "stage": TRIAL, "key": key, "dataset": dataset.fingerprint, "trial": trial, "config": settings}
    table = trajectory_table(dataset.train.labels.numpy(), trial, trajectory)
    publish(
        uri,
        TRIAL,
        key,
        {TRIAL_FILE: encode(table, TRAJECTORY, origin)},
        config=settings,
        parents={"dataset": dataset_uri},
        facts=_facts(dataset, trial, trajectory),
    )
    return uri


def _facts(dataset: Dataset, trial: int, trajectory: Trajectory) -> dict[str, Any]:
    """What the manifest tells about a trial without opening its table."""
    return {
        "dataset": dataset.fingerprint,
        "trial": trial,
        "samples": trajectory.samples,
        "epochs": trajectory.epochs,
        "final_loss": float(trajectory.losses[-1].mean()),
        "final_accuracy": float(trajectory.correct[-1].mean()),
    }
