"""The record of a trial as a table, and where the artifacts of scoring lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.artifacts.artifact import Artifact, content_key
from bilp.artifacts.facts import TrialFacts
from bilp.artifacts.row_groups import RowGroups
from bilp.artifacts.tables import MEASURED, TRAJECTORY
from bilp.config import ScoreConfig
from bilp.config.base import unrevised
from bilp.config.measures import MEASURES, WINDOWS
from bilp.errors import DamagedArtifact
from bilp.scoring.criteria import Trajectory
from bilp.storage.objects import join

VERSION = 2
"""Of the trials; summaries have a version of their own (`bilp.scoring.summary`), so that a change of these repeats no training."""
TRIAL = "score_trial"
TRIAL_FILE = "losses.parquet"
MEASURED_FILE = "scores.parquet"
GROWING = frozenset({"keep_networks", "extend"})
"""Settings that change nothing of what a trial records: what is kept beside it, and whether other images are scored with it."""


def training_settings(config: ScoreConfig) -> dict[str, Any]:
    """The settings that shape a trial: neither how many trials there are nor what is averaged later."""
    measure = MEASURES[config.measure]
    unused = {"trials", *GROWING, *WINDOWS}.union(*(other.settings for other in MEASURES.values())) - measure.settings
    if measure.per_epoch and config.gradient_norm != "off":  # norms are recorded inside of the window only
        unused -= {"early_from", "early_to"}
    return config.model_dump(mode="json", exclude=unused | unrevised(config))


def as_scored(config: ScoreConfig) -> ScoreConfig:
    """The settings of a scoring without those of GROWING, as its artifacts record them."""
    return config.model_copy(update={name: ScoreConfig.model_fields[name].default for name in GROWING})


def training_key(fingerprint: str, config: ScoreConfig) -> str:
    """Key of one training set-up, which more trials and other windows share."""
    return content_key("score", VERSION + config.network.revision, dataset=fingerprint, config=training_settings(config))


def score_uri(root: str, fingerprint: str, config: ScoreConfig) -> str:
    """Folder of the trials and summaries of one training set-up."""
    return scores_uri(root, fingerprint, training_key(fingerprint, config))


def scores_uri(root: str, fingerprint: str, training: str) -> str:
    """The same, for what has the key `training`: a training set-up, or what a scoring was extended to."""
    return join(root, "scores", fingerprint, training)


def training_of(uri: str) -> str:
    """Folder of the trials and summaries that the trial or summary at a URI belongs to."""
    return uri.rstrip("/").rsplit("/", 2)[0]


def trial_uri(root: str, fingerprint: str, config: ScoreConfig, trial: int) -> str:
    """Folder of one trial.

    Not named trial=3 in Hive's manner: the files have a column `trial`, and Arrow refuses a folder of that name besides.
    """
    return join(score_uri(root, fingerprint, config), "trials", f"{trial:04d}")


def trial_key(fingerprint: str, config: ScoreConfig, trial: int) -> str:
    """Key of one trial's artifact."""
    return content_key("score_trial", VERSION, training=training_key(fingerprint, config), trial=trial)


def trajectory_rows(labels: NDArray[np.int64], trial: int, trajectory: Trajectory) -> RowGroups:
    """Long table of a trial, sorted by (epoch, sample_id); labels `[N]`. Columns that repeat are made with the rows that are asked for."""
    samples, narrow, norms = trajectory.samples, labels.astype(np.int32), trajectory.gradient_norms

    def rows(start: int, stop: int) -> pa.Table:
        epoch, sample = np.divmod(np.arange(start, stop, dtype=np.int64), max(1, samples))
        return pa.table(
            {
                "sample_id": sample,
                "label": narrow[sample],
                "trial": np.full(stop - start, trial, dtype=np.int16),
                "epoch": epoch.astype(np.int16),
                "loss": trajectory.losses.reshape(-1)[start:stop],
                "correct": trajectory.correct.reshape(-1)[start:stop],
                "el2n": trajectory.el2n.reshape(-1)[start:stop],
                "margin": trajectory.margins.reshape(-1)[start:stop],
                "gradient_norm": np.full(stop - start, np.nan, dtype=np.float32) if norms is None else norms.reshape(-1)[start:stop],
            },
            schema=TRAJECTORY,
        )

    return RowGroups(trajectory.epochs * samples, rows)


def trajectory_table(labels: NDArray[np.int64], trial: int, trajectory: Trajectory) -> pa.Table:
    """`trajectory_rows` in one piece."""
    rows = trajectory_rows(labels, trial, trajectory)
    return rows.make(0, rows.count)


def read_trajectory(trial: Artifact, epochs: int, samples: int, gradients: bool = False) -> Trajectory:
    """The record of a published trial, with gradient norms if there are any and they are asked for.

    Only the columns needed are read. Raises DamagedArtifact unless every sample is there once in every epoch, in order.
    """
    facts = trial.stated(TrialFacts)
    if (facts.epochs, facts.samples) != (epochs, samples):
        raise DamagedArtifact(
            f"{trial.uri} states {facts.epochs} epochs of {facts.samples} samples, not {epochs} of {samples}: "
            "delete the trial and score it again"
        )
    columns = ["loss", "correct", "el2n", "margin", *(["gradient_norm"] if gradients else [])]
    table = trial.table(TRIAL_FILE, TRAJECTORY, columns, epochs * samples, {"sample_id": samples, "epoch": epochs})
    return Trajectory(*(table[name].to_numpy().reshape(epochs, samples) for name in columns))


def read_measured(trial: Artifact, samples: int) -> pa.Table:
    """Columns sample_id and score of a published trial that says something about some of so many samples.

    Raises DamagedArtifact unless each is there once at most.
    """
    rows = trial.stated(TrialFacts).samples
    return trial.table(MEASURED_FILE, MEASURED, ["sample_id", "score"], rows, {"sample_id": samples})


def measured_table(labels: NDArray[np.int64], trial: int, indices: NDArray[np.int64], scores: NDArray[np.float64]) -> pa.Table:
    """Table of a trial that says something about the samples at `indices` `[n]` (ascending) only; labels `[N]`, scores `[n]`."""
    return pa.table(
        {
            "sample_id": indices,
            "label": labels[indices].astype(np.int32),
            "trial": np.full(len(indices), trial, dtype=np.int16),
            "score": scores.astype(np.float32),
        },
        schema=MEASURED,
    )
