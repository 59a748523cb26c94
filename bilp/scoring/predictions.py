"""The predictions of a trial as an artifact of its own beside the trial, which stays as it is.

scores/<fingerprint>/<training>/predictions/<number>/     published by the same training, before the trial

Files: epochs.parquet (PREDICTED), probabilities.parquet (PROBABILITIES, the most probable classes of every sample) and own.parquet (OWN,
the probability of the label).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from bilp.artifacts.artifact import Artifact, content_key
from bilp.artifacts.facts import PredictionsFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import Content
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare
from bilp.config import ScoreConfig
from bilp.scoring.prediction_record import Predictions
from bilp.scoring.trial_record import VERSION, score_uri, training_key
from bilp.storage.objects import join

KIND = "predictions"
EPOCHS, TOP, LABEL = "epochs.parquet", "probabilities.parquet", "own.parquet"

_COUNT, _NUMBER, _SHARE = (0, 2**53), (0, 2**31), (0.0, 1.0 + 1e-4)
PREDICTED = declare(
    pa.schema({"sample_id": pa.int64(), "epoch": pa.int16(), "predicted": pa.int32(), "best": pa.float32(), "second": pa.float32()}),
    Rules(
        ranges={"sample_id": _COUNT, "epoch": _NUMBER, "predicted": _NUMBER},
        ascending=("epoch", "sample_id"),
        always=("sample_id", "epoch"),
    ),
)
"""After every epoch: the class with the largest logit, this logit and the next."""
PROBABILITIES = declare(
    pa.schema({"sample_id": pa.int64(), "place": pa.int16(), "predicted": pa.int32(), "probability": pa.float32()}),
    Rules(
        ranges={"sample_id": _COUNT, "place": _NUMBER, "predicted": _NUMBER, "probability": _SHARE},
        ascending=("sample_id", "place"),
        always=("sample_id", "place"),
    ),
)
"""Mean softmax over the epochs: the most probable classes of each sample, in descending order."""
OWN = declare(
    pa.schema({"sample_id": pa.int64(), "probability": pa.float32()}),
    Rules(ranges={"probability": _SHARE}, places="sample_id", always=("sample_id",)),
)
"""Mean softmax of the label."""


def predictions_uri(root: str, fingerprint: str, config: ScoreConfig, trial: int) -> str:
    """Folder of the predictions of one trial."""
    return join(score_uri(root, fingerprint, config), KIND, f"{trial:04d}")


def beside(trial_uri: str) -> str:
    """Folder of the predictions of the trial at a URI."""
    folder, _, number = trial_uri.rstrip("/").rsplit("/", 2)
    return join(folder, KIND, number)


def predictions_key(fingerprint: str, config: ScoreConfig, trial: int) -> str:
    """Key of one trial's predictions, of the version that the trial is of: a place beside it has no room for another."""
    return content_key(KIND, VERSION, training=training_key(fingerprint, config), trial=trial)


def prediction_files(predictions: Predictions, origin: Mapping[str, Any]) -> dict[str, Content]:
    """The files of the artifact, by name."""
    epochs, samples = predictions.predicted.shape
    kept = predictions.classes.shape[1]
    numbers = np.arange(samples, dtype=np.int64)
    tables = {
        EPOCHS: (
            PREDICTED,
            {
                "sample_id": np.tile(numbers, epochs),
                "epoch": np.repeat(np.arange(epochs, dtype=np.int16), samples),
                "predicted": predictions.predicted.reshape(-1),
                "best": predictions.best.reshape(-1),
                "second": predictions.second.reshape(-1),
            },
        ),
        TOP: (
            PROBABILITIES,
            {
                "sample_id": np.repeat(numbers, kept),
                "place": np.tile(np.arange(kept, dtype=np.int16), samples),
                "predicted": predictions.classes.reshape(-1),
                "probability": predictions.probabilities.reshape(-1),
            },
        ),
        LABEL: (OWN, {"sample_id": numbers, "probability": predictions.own}),
    }
    return {name: encode(pa.table(columns, schema=schema), schema, {"stage": KIND, **origin}) for name, (schema, columns) in tables.items()}


def read_probabilities(artifact: Artifact, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean softmax of published predictions: own `[N]`, classes and probabilities `[N, K]`, see `Predictions`.

    Raises DamagedArtifact unless every sample is there with as many classes as stated.
    """
    facts = artifact.stated(PredictionsFacts)
    samples, kept = facts.samples, facts.kept_classes
    bounds = {"sample_id": samples, "place": kept, "predicted": classes}
    top = artifact.table(TOP, PROBABILITIES, ["predicted", "probability"], samples * kept, bounds)
    own = artifact.table(LABEL, OWN, ["probability"], samples)
    names, values = (top[name].to_numpy().reshape(samples, kept) for name in ("predicted", "probability"))
    return own["probability"].to_numpy(), names, values


def read_predictions(artifact: Artifact, classes: int) -> Predictions:
    """All that was published of the predictions of a trial. Raises DamagedArtifact as `read_probabilities`."""
    facts = artifact.stated(PredictionsFacts)
    shape = (facts.epochs, facts.samples)
    bounds = {"sample_id": facts.samples, "epoch": facts.epochs, "predicted": classes}
    columns = ["predicted", "best", "second"]
    rows = artifact.table(EPOCHS, PREDICTED, columns, facts.epochs * facts.samples, bounds)
    predicted, best, second = (rows[name].to_numpy().reshape(shape) for name in columns)
    own, names, values = read_probabilities(artifact, classes)
    return Predictions(predicted, best, second, own, names, values)


def prediction_counts(predictions: Predictions) -> dict[str, int]:
    """What the manifest counts."""
    epochs, samples = predictions.predicted.shape
    return {"samples": samples, "epochs": epochs, "kept_classes": predictions.classes.shape[1]}
