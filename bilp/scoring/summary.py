"""Stage summarise: join the trials of a scoring into one row of criteria per sample."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.config import ScoreConfig
from bilp.data import open_dataset
from bilp.errors import MissingArtefact
from bilp.manifest import Artefact, content_key, find, open_artefact, provenance, publish
from bilp.scoring.criteria import CRITERIA, Moments, Trajectory
from bilp.scoring.record import TRIAL, VERSION, read_trajectory, score_uri, training_key, trial_key, trial_uri
from bilp.storage import join
from bilp.tables import SUMMARY, encode

KIND = "score_summary"
FILE = "summary.parquet"


def summarise(dataset_uri: str, config: ScoreConfig, root: str) -> str:
    """Average each criterion over trials 0 .. config.trials - 1 of exactly this scoring and return the summary's URI.

    One trial is in memory at a time. Raises MissingArtefact naming the trials that have not been run.
    """
    dataset = open_dataset(dataset_uri)
    settings = config.model_dump(mode="json")
    key = content_key(
        "summarise",
        VERSION,
        training=training_key(dataset.fingerprint, config),
        **{name: settings[name] for name in ("trials", "init_epochs", "converge_epochs")},
    )
    uri = join(score_uri(root, dataset.fingerprint, config), "summary", key)
    if find(uri, KIND, key) is not None:
        return uri
    trials = _trials(root, dataset.fingerprint, config)
    samples = len(dataset.train)
    records = (read_trajectory(trial, config.epochs, samples) for trial in trials)
    table = summary_table(dataset.train.labels.numpy(), records, config)
    origin = {**provenance(), "stage": KIND, "key": key, "dataset": dataset.fingerprint, "config": settings}
    publish(
        uri,
        KIND,
        key,
        {FILE: encode(table, SUMMARY, origin)},
        config=settings,
        parents={"dataset": dataset_uri, **{f"trial {number}": trial.uri for number, trial in enumerate(trials)}},
        facts={"dataset": dataset.fingerprint, "samples": samples, "trials": config.trials, "criteria": list(CRITERIA)},
    )
    return uri


def open_summary(uri: str, fingerprint: str | None = None) -> Artefact:
    """The summary at a URI, its table still unread.

    Raises MissingArtefact if there is none, and IncompatibleArtefact if a fingerprint is given and the summary is of
    another data set.
    """
    return open_artefact(uri, KIND, {} if fingerprint is None else {"dataset": fingerprint})


def load_summary(uri: str, fingerprint: str | None = None) -> pa.Table:
    """The table at a summary's URI: one row per sample of the train split, in its order, see `bilp.tables.SUMMARY`.

    Raises as `open_summary` does.
    """
    return open_summary(uri, fingerprint).table(FILE, SUMMARY)


def summary_table(labels: NDArray[np.int64], trials: Iterable[Trajectory], config: ScoreConfig) -> pa.Table:
    """Mean and standard deviation over trials of every criterion, for labels [N]; reads each trial once, in turn."""
    moments = {name: Moments(len(labels)) for name in CRITERIA}
    for trajectory in trials:
        for name, criterion in CRITERIA.items():
            moments[name].add(criterion(trajectory, config))
    columns = {"sample_id": np.arange(len(labels), dtype=np.int64), "label": labels.astype(np.int32)}
    for name, moment in moments.items():
        columns[name] = moment.mean.astype(np.float32)
        if f"{name}_std" in SUMMARY.names:
            columns[f"{name}_std"] = moment.std().astype(np.float32)
    return pa.table(columns, schema=SUMMARY)


def _trials(root: str, fingerprint: str, config: ScoreConfig) -> list[Artefact]:
    """The artefacts of all trials, or MissingArtefact."""
    places = [trial_uri(root, fingerprint, config, number) for number in range(config.trials)]
    found = [find(uri, TRIAL, trial_key(fingerprint, config, number)) for number, uri in enumerate(places)]
    missing = [number for number, artefact in enumerate(found) if artefact is None]
    if missing:
        raise MissingArtefact(
            f"trials {', '.join(map(str, missing))} of {config.trials} have not been scored (expected at {places[missing[0]]}"
            f"{' and so on' if len(missing) > 1 else ''}): run score_trial for them, then summarise again"
        )
    return [artefact for artefact in found if artefact is not None]
