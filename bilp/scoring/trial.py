"""Stage score: one trial, published as a Parquet table of what it says about the samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from bilp.artifacts.artifact import open_artifact, there_already
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import MEASURED, TRAJECTORY
from bilp.config import ScoreConfig
from bilp.config.given import model_of
from bilp.config.measures import MEASURES
from bilp.data import Dataset, open_dataset
from bilp.errors import ConfigError
from bilp.nets.arithmetic import arithmetic
from bilp.progress import Progress, silent
from bilp.registry import resolve
from bilp.scoring.kept_networks import NetworkFiles, are_kept, network_files, publish_networks, require_same_record
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

    Args:
        dataset_uri: the data set, as ingest published it.
        config: what is trained and recorded.
        trial: which of config.trials.
        root: the storage's root.
        device: where the network is trained.
        progress: told the batches of the training.

    Raises ConfigError for a trial beyond config.trials and Diverged if the training leaves the finite numbers.
    """
    dataset_uri, config, root = as_uri(dataset_uri), model_of(ScoreConfig, config), as_uri(root)
    if not 0 <= trial < config.trials:
        raise ConfigError(f"trial {trial} does not exist: score.trials = {config.trials}, counted from 0")
    dataset = open_dataset(dataset_uri)
    uri = trial_uri(root, dataset.fingerprint, config, trial)
    key = trial_key(dataset.fingerprint, config, trial)
    complete = are_kept(uri, dataset.fingerprint, config, trial)
    there = there_already(uri, TRIAL, key)
    if there is not None and complete:
        return uri
    with network_files(config) as kept:
        with arithmetic(config.gpu, device):
            table, facts = _measure(dataset, config, trial, device, progress, kept)
        if there is None:
            _publish(uri, key, dataset, config, trial, table, facts, device)
        else:
            require_same_record(there, table)
        if kept is not None:
            publish_networks(open_artifact(uri, TRIAL), dataset.fingerprint, config, trial, kept, device)
    return uri


def _publish(
    uri: str, key: str, dataset: Dataset, config: ScoreConfig, trial: int, table: pa.Table, facts: Mapping[str, Any], device: str
) -> None:
    """Publish a trial of `dataset` under `key` at `uri`; the other arguments are those of `score_trial` and what `_measure` gave."""
    name, schema = (TRIAL_FILE, TRAJECTORY) if MEASURES[config.measure].per_epoch else (MEASURED_FILE, MEASURED)
    origin = {"dataset": dataset.fingerprint, "trial": trial}
    publish_table(
        uri,
        TRIAL,
        key,
        TableFile(name, table, schema, origin),
        config=training_settings(config),
        parents={"dataset": dataset.uri},
        facts={**origin, "measure": config.measure, **facts},
        device=device,
    )


def _measure(
    dataset: Dataset, config: ScoreConfig, trial: int, device: str, progress: Progress, kept: NetworkFiles | None
) -> tuple[pa.Table, dict[str, Any]]:
    """The trial's table, and what the manifest tells about it; `kept` gets its networks. Other arguments as for `score_trial`."""
    labels = dataset.train.labels.numpy()
    measure = MEASURES[config.measure]
    watching = {} if kept is None else {"after_epoch": kept}
    record = resolve(measure.trial)(dataset, config, trial, device, progress, **watching)
    if not measure.per_epoch:
        return measured_table(labels, trial, *record), {"samples": len(record[0])}
    facts = {
        "samples": record.samples,
        "epochs": record.epochs,
        "final_loss": float(record.losses[-1].mean()),
        "final_accuracy": float(record.correct[-1].mean()),
    }
    return trajectory_table(labels, trial, record), facts
