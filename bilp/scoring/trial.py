"""Stage score: one trial, published as a Parquet table of what it says about the samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from bilp.artifacts.artifact import there_already
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import MEASURED, TRAJECTORY
from bilp.config import ScoreConfig
from bilp.config.given import model_of
from bilp.data import Dataset, open_dataset
from bilp.errors import ConfigError
from bilp.nets.arithmetic import arithmetic
from bilp.progress import Progress, silent
from bilp.scoring.loss_curves import train_trial
from bilp.scoring.picking import pick_places
from bilp.scoring.subsets import subset_scores
from bilp.scoring.trial_record import (
    MEASURED_FILE,
    TRIAL,
    TRIAL_FILE,
    measured_table,
    training_settings,
    trajectory_table,
    trial_key,
    trial_uri,
)
from bilp.storage.objects import Uri, as_uri


def score_trial(
    dataset_uri: Uri, config: ScoreConfig | Mapping[str, Any], trial: int, root: Uri, device: str = "cpu", progress: Progress = silent
) -> str:
    """Run trial number `trial` (from 0) of `config` and return its URI; a trial that is there already is not repeated.

    Raises ConfigError for a trial beyond config.trials and Diverged if the training leaves the finite numbers.
    """
    dataset_uri, config, root = as_uri(dataset_uri), model_of(ScoreConfig, config), as_uri(root)
    if not 0 <= trial < config.trials:
        raise ConfigError(f"trial {trial} does not exist: score.trials = {config.trials}, counted from 0")
    dataset = open_dataset(dataset_uri)
    uri = trial_uri(root, dataset.fingerprint, config, trial)
    key = trial_key(dataset.fingerprint, config, trial)
    if there_already(uri, TRIAL, key) is not None:
        return uri
    with arithmetic(config.gpu, device):
        table, facts = _measure(dataset, config, trial, device, progress)
    name, schema = (TRIAL_FILE, TRAJECTORY) if config.measure == "trajectory" else (MEASURED_FILE, MEASURED)
    origin = {"dataset": dataset.fingerprint, "trial": trial}
    return publish_table(
        uri,
        TRIAL,
        key,
        TableFile(name, table, schema, origin),
        config=training_settings(config),
        parents={"dataset": dataset_uri},
        facts={**origin, "measure": config.measure, **facts},
        device=device,
    )


def _measure(dataset: Dataset, config: ScoreConfig, trial: int, device: str, progress: Progress) -> tuple[pa.Table, dict[str, Any]]:
    """The trial's table, and what the manifest tells about it."""
    labels = dataset.train.labels.numpy()
    if config.measure == "trajectory":
        trajectory = train_trial(dataset, config, trial, device, progress)
        facts = {
            "samples": trajectory.samples,
            "epochs": trajectory.epochs,
            "final_loss": float(trajectory.losses[-1].mean()),
            "final_accuracy": float(trajectory.correct[-1].mean()),
        }
        return trajectory_table(labels, trial, trajectory), facts
    if config.measure == "monte_carlo":
        indices, scores = subset_scores(dataset, config, trial, device, progress)
    else:
        indices, scores = np.arange(len(labels)), pick_places(dataset, config, trial, device, progress).astype(np.float64)
    return measured_table(labels, trial, indices, scores), {"samples": len(indices)}
