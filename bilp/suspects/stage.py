"""Stage suspects: rank the training samples of a scoring by how wrong their labels look, and publish the list for a person.

suspects/<key>/

Files: suspects.parquet (SUSPECTS), suspects.csv (the same, the most suspicious first), worst.png (contact sheet), suspects.html (the
worst with their curves of loss) and corrections.csv, a template that ingestion reads back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bilp.artifacts.artifact import Artifact, content_key, find, open_artifact, there_already
from bilp.artifacts.facts import PredictionsFacts, SummaryFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish
from bilp.artifacts.tables import SUMMARY
from bilp.config.given import model_of
from bilp.config.measures import MEASURES
from bilp.config.shapes import sample_noun
from bilp.config.suspects import LABEL_SCORES, SuspectsConfig
from bilp.data import Dataset, open_dataset
from bilp.errors import ConfigError, MissingArtifact
from bilp.progress import Progress, silent
from bilp.pruning.prune import KIND as SELECTION
from bilp.scoring.extension import settings_of
from bilp.scoring.predictions import KIND as PREDICTIONS
from bilp.scoring.predictions import beside, read_predictions
from bilp.scoring.summary import FILE as SUMMARY_FILE
from bilp.scoring.summary import open_summary
from bilp.scoring.trial_record import TRIAL, read_trajectory
from bilp.storage.objects import Uri, as_uri, join, optional_uri
from bilp.storage.scratch import scratch_folder
from bilp.suspects.confident import estimated_errors
from bilp.suspects.contact_sheet import contact_sheet
from bilp.suspects.csv_files import write_corrections, write_list
from bilp.suspects.evidence import Evidence, gather, read_softmax
from bilp.suspects.fates import fates
from bilp.suspects.label_scores import label_score, order
from bilp.suspects.near_duplicates import nearest_neighbors, reduced
from bilp.suspects.quality import quality
from bilp.suspects.relabeling import Predicted, relabeled, surest
from bilp.suspects.reviewed import reviewed_samples
from bilp.suspects.suspect_rows import Known, Ranking, rows_of
from bilp.suspects.suspects_page import page
from bilp.suspects.suspects_table import STATISTICS, SUSPECTS
from bilp.suspects.worst import worst_of
from bilp.text.sample_words import speaking_of
from bilp.truth.table import open_truth

VERSION = 1
KIND = "suspects"
FILE, LIST, SHEET, PAGE, CORRECTIONS = "suspects.parquet", "suspects.csv", "worst.png", "suspects.html", "corrections.csv"


def has_predictions(scores_uri: Uri) -> bool:
    """Whether the trials of a summary of scores have their predictions beside them, so that suspects can be found among their samples."""
    summary = open_summary(scores_uri)
    if not MEASURES[summary.stated(SummaryFacts).measure].per_epoch:
        return False
    return all(find(beside(uri), PREDICTIONS) is not None for uri in _trials(summary))


def find_suspects(
    dataset_uri: Uri,
    scores_uri: Uri,
    config: SuspectsConfig | Mapping[str, Any],
    root: Uri,
    record_uri: Uri | None = None,
    selection_uri: Uri | None = None,
    run_uri: Uri | None = None,
    progress: Progress = silent,
) -> str:
    """The URI of the published list.

    Args:
        dataset_uri: the real images.
        scores_uri: a summary of trials that recorded every epoch.
        config: what is ranked by.
        root: the storage's root.
        record_uri: the record of the source, which tells where images are from, which were reviewed and what is true.
        selection_uri: what static pruning kept.
        run_uri: a run with adaptive pruning.
        progress: told how many blocks of images were compared.

    Raises ConfigError for trials of another measure, and MissingArtifact for trials without predictions.
    """
    config, root = model_of(SuspectsConfig, config), as_uri(root)
    inputs = _Inputs.opened(dataset_uri, scores_uri, record_uri, selection_uri, run_uri)
    key = content_key(KIND, VERSION, config=config, **inputs.identity())
    uri = join(root, KIND, key)
    if there_already(uri, KIND, key, shown=True) is not None:
        return uri
    dataset = inputs.dataset
    known, evidence, facts = _known(inputs, config, progress)
    estimated = estimated_errors(evidence.labels, evidence.confident)
    ranking = Ranking.by(order(config.by, evidence), label_score(config.by, evidence), known.reviewed, estimated)
    table = rows_of(dataset, evidence, ranking, known)
    decided = {} if config.relabel is None else _relabeled(inputs, known, evidence.labels, config.relabel)
    stated = {
        "dataset": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "samples": len(dataset.train),
        "by": config.by,
        "estimated_errors": estimated,
        "near_duplicates": int(table["is_near_duplicate_issue"].to_numpy().sum()),
        "reviewed": int(known.reviewed.sum()),
        **({} if config.relabel is None else {"relabeled": len(decided)}),
        **facts,
    }
    with scratch_folder("bilp-suspects-") as folder:
        _write(folder, inputs, table, stated, config, key, decided)
        return publish(
            uri,
            KIND,
            key,
            {FILE: encode(table, SUSPECTS, {"stage": KIND, "key": key}), **{path.name: path for path in sorted(folder.iterdir())}},
            config=config,
            parents=inputs.parents(),
            facts=stated,
        ).uri


Decided = Mapping[int, tuple[str, float]]
"""Names of classes that samples get by themselves, and the probability of each, by sample_id."""


def _relabeled(inputs: _Inputs, known: Known, labels: np.ndarray, least: float) -> Decided:
    """What corrections decide by themselves, of samples that nobody has reviewed and static pruning, if it was done, leaves out."""
    dataset, window = inputs.dataset, settings_of(inputs.summary).converge_epochs
    trials = []
    for uri, predictions in zip(inputs.trials, inputs.predictions, strict=True):
        trial = open_artifact(uri, TRIAL)
        epochs = predictions.stated(PredictionsFacts).epochs
        record, said = read_trajectory(trial, epochs, len(labels)), read_predictions(predictions, dataset.classes)
        last = slice(max(0, epochs - window), epochs)
        trials.append(Predicted(record.losses[last], record.margins[last], said.predicted[last]))
    sure = surest(trials, labels, dataset.classes)
    kept = known.fates.kept_by_score
    left_out = ~known.reviewed if kept is None else ~known.reviewed & ~np.asarray(kept)
    chosen = np.flatnonzero(relabeled(sure, labels, least, left_out))
    return {int(k): (dataset.class_names[int(sure.classes[k])], float(sure.confidence[k])) for k in chosen}


def _write(
    folder: Path, inputs: _Inputs, table: pa.Table, stated: Mapping[str, Any], config: SuspectsConfig, key: str, decided: Decided
) -> None:
    """The files for people."""
    ranked = table.sort_by("rank")
    write_list(folder / LIST, ranked)
    most = max(config.worst, min(int(stated["estimated_errors"]), 10 * config.worst))
    write_corrections(folder / CORRECTIONS, ranked, most, decided)
    worst = worst_of(inputs.dataset, ranked.slice(0, config.worst), inputs.trials)
    title = f"{inputs.dataset.name}: the {len(worst)} most suspicious labels"
    (folder / SHEET).write_bytes(contact_sheet(title, worst))
    with speaking_of(sample_noun(inputs.dataset.shape)):
        (folder / PAGE).write_text(page(inputs.dataset.name, worst, stated, LABEL_SCORES[config.by], key), encoding="utf-8")


@dataclass(frozen=True)
class _Inputs:
    """What a list is made from, opened."""

    dataset: Dataset
    summary: Artifact
    trials: Sequence[str]
    predictions: Sequence[Artifact]
    record_uri: str | None
    selection: Artifact | None
    run_uri: str | None

    @classmethod
    def opened(cls, dataset_uri: Uri, scores_uri: Uri, record_uri: Uri | None, selection_uri: Uri | None, run_uri: Uri | None) -> _Inputs:
        """Raises as `find_suspects`."""
        record, chosen = optional_uri(record_uri), optional_uri(selection_uri)
        dataset = open_dataset(as_uri(dataset_uri), record)
        summary = open_summary(scores_uri, dataset.fingerprint)
        measure = summary.stated(SummaryFacts).measure
        if not MEASURES[measure].per_epoch:
            raise ConfigError(f"{summary.uri} was scored by {measure}, which says nothing about labels: score by a measure of every epoch")
        trials = _trials(summary)
        predictions = [find(beside(uri), PREDICTIONS) for uri in trials]
        lacking = [number for number, found in enumerate(predictions) if found is None]
        if lacking:
            raise MissingArtifact(
                f"trial {lacking[0]} of {summary.uri} was scored before predictions were recorded: bilp suspects records them"
            )
        selection = None if chosen is None else open_artifact(chosen, SELECTION, {"dataset": dataset.fingerprint})
        there = tuple(found for found in predictions if found is not None)
        return cls(dataset, summary, trials, there, record, selection, optional_uri(run_uri))

    def identity(self) -> dict[str, Any]:
        """What the key holds."""
        return {
            "dataset": self.dataset.fingerprint,
            "scores": self.summary.identity,
            "predictions": [artifact.identity for artifact in self.predictions],
            "record": None if self.dataset.record is None else self.dataset.record.artifact.identity,
            "selection": None if self.selection is None else self.selection.identity,
            "run": None if self.run_uri is None else self.run_uri.rstrip("/").rpartition("/")[2],
        }

    def parents(self) -> dict[str, str]:
        """URIs by role."""
        found = {"dataset": self.dataset.uri, "source": self.record_uri, "scores": self.summary.uri, "run": self.run_uri}
        found |= {"selection": None if self.selection is None else self.selection.uri}
        found |= {f"predictions {number}": artifact.uri for number, artifact in enumerate(self.predictions)}
        return {role: uri for role, uri in found.items() if uri is not None}


def _trials(summary: Artifact) -> list[str]:
    return [summary.parents[f"trial {number}"] for number in range(summary.stated(SummaryFacts).trials)]


def _known(inputs: _Inputs, config: SuspectsConfig, progress: Progress) -> tuple[Known, Evidence, dict[str, Any]]:
    """Everything that is known of the samples, and what the manifest tells of where that is from."""
    dataset = inputs.dataset
    labels = dataset.train.labels.numpy()
    columns = inputs.summary.table(SUMMARY_FILE, SUMMARY, rows=len(labels))
    statistics = {name: columns[name].to_numpy().astype(np.float64) for name in STATISTICS}
    stated = [artifact.stated(PredictionsFacts) for artifact in inputs.predictions]
    epochs = stated[0].epochs
    evidence = gather(labels, dataset.classes, read_softmax(inputs.predictions, dataset.classes), statistics, epochs)
    fate = fates(inputs.selection, inputs.run_uri, dataset.train.labels)
    neighbors = nearest_neighbors(reduced(dataset.train), progress)
    facts: dict[str, Any] = {
        "trials": len(stated),
        "epochs": epochs,
        "repeated_otherwise": [told.trial for told in stated if not told.equals_trial],
    }
    truth = None if inputs.record_uri is None else open_truth(inputs.record_uri)
    if truth is not None:
        facts |= {"errors": truth.errors, "quality": quality(evidence, fate, truth.wrong)}
    return Known(fate, neighbors, reviewed_samples(dataset), config.near), evidence, facts
