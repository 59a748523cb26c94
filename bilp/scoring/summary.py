"""Stage summarize: join the trials of a scoring into one row per sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.artifacts.artifact import Artifact, content_key, find, open_artifact, there_already
from bilp.artifacts.facts import SummaryFacts
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import MEASURED_SUMMARY, SUMMARY
from bilp.config import ScoreConfig
from bilp.config.criteria import CRITERIA, SUMMARIZED
from bilp.config.given import model_of
from bilp.config.measures import MEASURES
from bilp.data import open_dataset
from bilp.errors import ConfigError, MissingArtifact
from bilp.scoring.criteria import Moments, Trajectory, criterion_of
from bilp.scoring.trial_record import (
    MEASURED_FILE,
    TRIAL,
    as_scored,
    read_measured,
    read_trajectory,
    score_uri,
    training_key,
    trial_key,
    trial_uri,
)
from bilp.storage.objects import Uri, as_uri, join

VERSION = 2
"""Of all summaries; a change of theirs repeats no training. A single criterion's function has a version in its entry."""
KIND = "score_summary"
FILE = "summary.parquet"


def summarize(dataset_uri: Uri, config: ScoreConfig | Mapping[str, Any], root: Uri) -> str:
    """Average each criterion over trials 0 .. config.trials - 1 of exactly this scoring and return the summary's URI.

    One trial is in memory at a time. Raises MissingArtifact naming the trials that have not been run.
    """
    dataset_uri, config, root = as_uri(dataset_uri), model_of(ScoreConfig, config), as_uri(root)
    dataset = open_dataset(dataset_uri)
    key = summary_key(dataset.fingerprint, config)
    uri = join(score_uri(root, dataset.fingerprint, config), "summary", key)
    if there_already(uri, KIND, key, shown=True) is not None:
        return uri
    trials = _trials(root, dataset.fingerprint, config)
    labels = dataset.train.labels.numpy()
    if MEASURES[config.measure].per_epoch:
        name, schema, table = FILE, SUMMARY, summary_table(labels, records(trials, config, len(labels)), config)
        criteria = summarized_criteria(config)
    else:
        measured = (read_measured(trial, len(labels)) for trial in trials)
        name, schema, table = MEASURED_FILE, MEASURED_SUMMARY, measured_summary(labels, measured)
        criteria = [config.measure]
    return publish_table(
        uri,
        KIND,
        key,
        TableFile(name, table, schema, {"dataset": dataset.fingerprint}),
        config=as_scored(config),
        parents={"dataset": dataset_uri, **{f"trial {number}": trial.uri for number, trial in enumerate(trials)}},
        facts=facts(dataset.fingerprint, len(labels), config, criteria),
    )


def summary_key(fingerprint: str, config: ScoreConfig) -> str:
    """Key of the summary of a scoring."""
    return content_key("summarise", VERSION, **identity(fingerprint, config))


def summarized_criteria(config: ScoreConfig) -> list[str]:
    """The criteria that trials recorded under these settings are summarized by."""
    criteria = [name for name in SUMMARIZED if name in CRITERIA]
    return [name for name in criteria if config.gradient_norm != "off" or not SUMMARIZED[name].gradients]


def identity(fingerprint: str, config: ScoreConfig, training: str | None = None) -> dict[str, Any]:
    """What the keys of all summaries of a scoring hold: its training (key of what a scoring was extended to, if it was), and what
    is averaged."""
    settings = config.model_dump(mode="json")
    return {
        "training": training or training_key(fingerprint, config),
        **{name: settings[name] for name in MEASURES[config.measure].averaged},
    }


def facts(fingerprint: str, samples: int, config: ScoreConfig, criteria: Sequence[str]) -> dict[str, Any]:
    """What the manifest tells: `criteria` are those that a selection can be made by."""
    return {"dataset": fingerprint, "samples": samples, "trials": config.trials, "measure": config.measure, "criteria": list(criteria)}


def records(trials: Iterable[Artifact], config: ScoreConfig, samples: int) -> Iterator[Trajectory]:
    """The records of published trials, one at a time."""
    return (read_trajectory(trial, config.epochs, samples, config.gradient_norm != "off") for trial in trials)


def open_summary(uri: Uri, fingerprint: str | None = None) -> Artifact:
    """The summary at a URI, its table still unread.

    Raises MissingArtifact if there is none, and IncompatibleArtifact if a fingerprint is given and the summary is of
    another data set.
    """
    uri = as_uri(uri)
    return open_artifact(uri, KIND, {} if fingerprint is None else {"dataset": fingerprint})


def scoring_of(summary: Artifact) -> ScoreConfig:
    """The settings of the scoring that a summary is of."""
    return model_of(ScoreConfig, {name: value for name, value in summary.manifest.config.items() if name in ScoreConfig.model_fields})


def trials_of(summary: Artifact) -> list[Artifact]:
    """The trials that a summary joins. Raises MissingArtifact if one is gone."""
    return [
        open_artifact(summary.parents[f"trial {number}"], TRIAL, {"trial": number}) for number in range(summary.stated(SummaryFacts).trials)
    ]


def load_summary(uri: Uri, fingerprint: str | None = None) -> pa.Table:
    """The table at a summary's URI: one row per sample of the train split, in its order, see `bilp.artifacts.tables.SUMMARY`.

    Raises as `open_summary` does.
    """
    uri = as_uri(uri)
    summary = open_summary(uri, fingerprint)
    return summary.table(FILE, SUMMARY, rows=summary.stated(SummaryFacts).samples)


def criterion_scores(summary: Artifact, criterion: str) -> NDArray[np.float64]:
    """Scores `[N]` of an opened summary by one of its criteria. Raises ConfigError, naming those it has, for another one."""
    stated = summary.stated(SummaryFacts)
    if criterion not in stated.criteria:
        raise ConfigError(
            f"{summary.uri} has no scores for criterion {criterion}, only for {', '.join(stated.criteria)}: "
            f"score with --prune.criterion {criterion}, which sets what has to be recorded"
        )
    together = MEASURES[stated.measure].per_epoch and criterion in SUMMARIZED
    file, schema, column = (FILE, SUMMARY, criterion) if together else (MEASURED_FILE, MEASURED_SUMMARY, "score")
    scores: NDArray[np.float64] = summary.table(file, schema, [column], stated.samples)[column].to_numpy().astype(np.float64)
    return scores


def sample_labels(summary: Artifact) -> NDArray[np.int64]:
    """Labels `[N]` of an opened summary of records of every epoch."""
    labels: NDArray[np.int64] = (
        summary.table(FILE, SUMMARY, ["label"], summary.stated(SummaryFacts).samples)["label"].to_numpy().astype(np.int64)
    )
    return labels


def summary_table(labels: NDArray[np.int64], trials: Iterable[Trajectory], config: ScoreConfig) -> pa.Table:
    """Mean and standard deviation over trials of every criterion, for labels `[N]`; reads each trial once, in turn."""
    functions = {name: criterion_of(column) for name, column in SUMMARIZED.items()}
    moments = {name: Moments(len(labels)) for name in SUMMARIZED}
    for trajectory in trials:
        for name, function in functions.items():
            moments[name].add(function(trajectory, config))
    columns = {"sample_id": np.arange(len(labels), dtype=np.int64), "label": labels.astype(np.int32)}
    for name, moment in moments.items():
        columns[name] = moment.mean.astype(np.float32)
        if SUMMARIZED[name].spread:
            columns[f"{name}_std"] = moment.std().astype(np.float32)
    return pa.table(columns, schema=SUMMARY)


def measured_summary(labels: NDArray[np.int64], trials: Iterable[pa.Table]) -> pa.Table:
    """Mean, standard deviation (n - 1; 0 for one visit) and visits per sample, for labels `[N]`; NaN without a visit.

    `trials` have columns sample_id `[n]`, each once at most, and score `[n]`.
    """
    visits = np.zeros(len(labels), dtype=np.int64)
    mean, squares = np.zeros(len(labels)), np.zeros(len(labels))
    for table in trials:  # Welford 1962, for the samples of the trial
        ids, values = table["sample_id"].to_numpy(), table["score"].to_numpy().astype(np.float64)
        visits[ids] += 1
        before = values - mean[ids]
        mean[ids] += before / visits[ids]
        squares[ids] += before * (values - mean[ids])
    columns = {
        "sample_id": np.arange(len(labels), dtype=np.int64),
        "label": labels.astype(np.int32),
        "score": np.where(visits > 0, mean, np.nan).astype(np.float32),
        "score_std": np.sqrt(squares / np.maximum(visits - 1, 1)).astype(np.float32),
        "visits": visits.astype(np.int32),
    }
    return pa.table(columns, schema=MEASURED_SUMMARY)


def _trials(root: str, fingerprint: str, config: ScoreConfig) -> list[Artifact]:
    """The artifacts of all trials, or MissingArtifact."""
    places = [trial_uri(root, fingerprint, config, number) for number in range(config.trials)]
    found = [find(uri, TRIAL, trial_key(fingerprint, config, number)) for number, uri in enumerate(places)]
    missing = [number for number, artifact in enumerate(found) if artifact is None]
    if missing:
        raise MissingArtifact(
            f"trials {', '.join(map(str, missing))} of {config.trials} have not been scored (expected at {places[missing[0]]}"
            f"{' and so on' if len(missing) > 1 else ''}): run score_trial for them, then summarize again"
        )
    return [artifact for artifact in found if artifact is not None]
