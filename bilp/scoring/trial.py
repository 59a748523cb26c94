"""Stage score: one trial, published as a Parquet table of what it says about the samples, and what its network predicts for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bilp.artifacts.artifact import open_artifact, there_already
from bilp.artifacts.publication import TableFile, publish, publish_table
from bilp.artifacts.row_groups import RowGroups
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
from bilp.scoring.prediction_record import Predictions
from bilp.scoring.predictions import KIND as PREDICTIONS
from bilp.scoring.predictions import prediction_counts, prediction_files, predictions_key, predictions_uri
from bilp.scoring.trial_record import (
    MEASURED_FILE,
    TRIAL,
    TRIAL_FILE,
    measured_table,
    training_settings,
    trajectory_rows,
    trial_key,
    trial_uri,
)
from bilp.storage.objects import Uri, as_uri
from bilp.storage.scratch import scratch_folder
from bilp.storage.verification import file_digest


def score_trial(
    dataset_uri: Uri, config: ScoreConfig | Mapping[str, Any], trial: int, root: Uri, device: str = "cpu", progress: Progress = silent
) -> str:
    """Run trial number `trial` (from 0) of `config` and return its URI; a trial that is there already is not repeated.

    What its network predicts is published before it (`bilp.scoring.predictions`), if the measure records every epoch; its networks after
    it, if they are to be kept (`bilp.scoring.kept_networks`). A trial whose networks are missing is repeated for them.

    Args:
        dataset_uri: the data set, as ingest published it.
        config: what is trained and recorded.
        trial: which of config.trials.
        root: the storage's root.
        device: where the network is trained.
        progress: told the batches of the training.

    Raises ConfigError for a trial beyond config.trials and Diverged if the training leaves the finite numbers.
    """
    wanted = _Wanted.of(dataset_uri, config, trial, root)
    there = there_already(wanted.trial_uri, TRIAL, wanted.trial_key)
    if there is not None and are_kept(wanted.trial_uri, wanted.dataset.fingerprint, wanted.config, trial):
        return wanted.trial_uri
    with network_files(wanted.config) as kept:
        made = _measured(wanted, device, progress, kept)
        if there is not None:
            assert isinstance(made.table, RowGroups)  # networks are kept of trials that record every epoch
            require_same_record(there, made.table)
        else:
            if made.predictions is not None:
                _publish_predictions(wanted, made.predictions, True, device)
            _publish_trial(wanted, made, device)
        if kept is not None:
            publish_networks(open_artifact(wanted.trial_uri, TRIAL), wanted.dataset.fingerprint, wanted.config, trial, kept, device)
    return wanted.trial_uri


def record_predictions(
    dataset_uri: Uri, config: ScoreConfig | Mapping[str, Any], trial: int, root: Uri, device: str = "cpu", progress: Progress = silent
) -> str:
    """The URI of what the network of a trial predicts for every sample; where only the trial is there, its training is repeated.

    Whether the repeated trial has the same bytes as the one that is there (other versions and devices round otherwise) is stated in the
    fact `equals_trial`. Arguments as for `score_trial`. Raises ConfigError for a measure that records no epochs, and as `score_trial`.
    """
    wanted = _Wanted.of(dataset_uri, config, trial, root)
    if not MEASURES[wanted.config.measure].per_epoch:
        raise ConfigError(f"trials of measure {wanted.config.measure} predict nothing: use a measure that records every epoch")
    if there_already(wanted.predictions_uri, PREDICTIONS, wanted.predictions_key) is not None:
        return wanted.predictions_uri
    there = there_already(wanted.trial_uri, TRIAL, wanted.trial_key)
    made = _measured(wanted, device, progress)
    assert made.predictions is not None
    equal = there is None or there.manifest.files[made.name].sha256 == _digest(wanted, made)
    uri = _publish_predictions(wanted, made.predictions, equal, device)
    if there is None:
        _publish_trial(wanted, made, device)
    return uri


@dataclass(frozen=True)
class _Wanted:
    """One trial of a scoring."""

    dataset_uri: str
    dataset: Dataset
    config: ScoreConfig
    trial: int
    root: str

    @classmethod
    def of(cls, dataset_uri: Uri, config: ScoreConfig | Mapping[str, Any], trial: int, root: Uri) -> _Wanted:
        """Raises ConfigError for a trial beyond config.trials."""
        config = model_of(ScoreConfig, config)
        if not 0 <= trial < config.trials:
            raise ConfigError(f"trial {trial} does not exist: score.trials = {config.trials}, counted from 0")
        return cls(as_uri(dataset_uri), open_dataset(as_uri(dataset_uri)), config, trial, as_uri(root))

    @property
    def origin(self) -> dict[str, Any]:
        """What tables say of where they come from."""
        return {"dataset": self.dataset.fingerprint, "trial": self.trial}

    @property
    def trial_uri(self) -> str:
        """Where the trial lies."""
        return trial_uri(self.root, self.dataset.fingerprint, self.config, self.trial)

    @property
    def trial_key(self) -> str:
        """The trial's key."""
        return trial_key(self.dataset.fingerprint, self.config, self.trial)

    @property
    def predictions_uri(self) -> str:
        """Where its predictions lie."""
        return predictions_uri(self.root, self.dataset.fingerprint, self.config, self.trial)

    @property
    def predictions_key(self) -> str:
        """Their key."""
        return predictions_key(self.dataset.fingerprint, self.config, self.trial)


@dataclass(frozen=True)
class _Made:
    """What a training gave: the trial's table, what the manifest tells about it, and the predictions if the measure has any."""

    name: str
    table: pa.Table | RowGroups
    schema: pa.Schema
    facts: Mapping[str, Any]
    predictions: Predictions | None = None


def _digest(wanted: _Wanted, made: _Made) -> str:
    """The checksum of the trial's table as it would be published."""
    assert isinstance(made.table, RowGroups)
    with scratch_folder("table") as folder:
        path = folder / made.name
        made.table.write(path, made.schema, {"stage": TRIAL, "key": wanted.trial_key, **wanted.origin})
        return file_digest(path)


def _publish_trial(wanted: _Wanted, made: _Made, device: str) -> str:
    return publish_table(
        wanted.trial_uri,
        TRIAL,
        wanted.trial_key,
        TableFile(made.name, made.table, made.schema, wanted.origin),
        config=training_settings(wanted.config),
        parents={"dataset": wanted.dataset_uri},
        facts={**wanted.origin, "measure": wanted.config.measure, **made.facts},
        device=device,
    )


def _publish_predictions(wanted: _Wanted, predictions: Predictions, equals_trial: bool, device: str) -> str:
    return publish(
        wanted.predictions_uri,
        PREDICTIONS,
        wanted.predictions_key,
        prediction_files(predictions, {"key": wanted.predictions_key, **wanted.origin}),
        config=training_settings(wanted.config),
        parents={"dataset": wanted.dataset_uri},
        facts={**wanted.origin, **prediction_counts(predictions), "equals_trial": equals_trial},
        device=device,
    ).uri


def _measured(wanted: _Wanted, device: str, progress: Progress, kept: NetworkFiles | None = None) -> _Made:
    """The training of a trial, whose networks `kept` is handed."""
    config, trial, labels = wanted.config, wanted.trial, wanted.dataset.train.labels.numpy()
    measure = MEASURES[config.measure]
    watching = {} if kept is None else {"after_epoch": kept}
    with arithmetic(config.gpu, device):
        record = resolve(measure.trial)(wanted.dataset, config, trial, device, progress, **watching)
    if not measure.per_epoch:
        return _Made(MEASURED_FILE, measured_table(labels, trial, *record), MEASURED, {"samples": len(record[0])})
    facts = {
        "samples": record.samples,
        "epochs": record.epochs,
        "final_loss": float(record.losses[-1].mean()),
        "final_accuracy": float(record.correct[-1].mean()),
    }
    return _Made(TRIAL_FILE, trajectory_rows(labels, trial, record), TRAJECTORY, facts, record.predictions)
