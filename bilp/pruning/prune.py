"""Stage prune: a score for every sample becomes a published selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilp.artifacts.artifact import Artifact, content_key, open_artifact, there_already
from bilp.artifacts.facts import SelectionFacts
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import SELECTION
from bilp.config import PruneConfig
from bilp.config.given import model_of
from bilp.config.words import require_numbers
from bilp.data import Dataset, open_dataset
from bilp.errors import DamagedArtifact
from bilp.pruning.rankings import ranking_of
from bilp.pruning.static import Cut, Floats, Integers, select
from bilp.registry import AS_TYPED
from bilp.storage.objects import Uri, as_uri, join, optional_uri
from bilp.storage.verification import again

VERSION = 2
KIND = "selection"
FILE = "selection.parquet"


def prune(dataset_uri: Uri, scores_uri: Uri | None, config: PruneConfig | Mapping[str, Any], root: Uri) -> str:
    """Cut the train split by the criterion of `config` and return the selection's URI.

    scores_uri is a summary of `bilp.scoring`; criteria that need no scoring do not read it. The table holds every
    sample (score, rank in its class, kept or not), the facts the counts and thresholds of every class.

    Raises ConfigError if there is nothing to rank by or too little of a class would stay, DataError for a score list
    that does not fit, IncompatibleArtifact for scores of another data set.
    """
    dataset_uri = as_uri(dataset_uri)
    scores_uri = optional_uri(scores_uri)
    config = model_of(PruneConfig, config)
    root = as_uri(root)
    require_numbers(keep=config.keep)
    dataset = open_dataset(dataset_uri)
    ranking = ranking_of(dataset, scores_uri, config, root)
    rule = config.model_dump(mode="json", exclude={"seed", "score_list"})  # both are in the identity where they matter
    key = content_key("prune", VERSION, dataset=dataset.fingerprint, scores=ranking.identity, rule=rule)
    uri = join(root, "selections", key)
    if there_already(uri, KIND, key, shown=True) is not None:
        return uri
    labels = dataset.train.labels.numpy()
    scores = ranking.scores(labels)
    cut = cut_by(config, scores, labels, dataset.class_names)
    return publish_table(
        uri,
        KIND,
        key,
        TableFile(FILE, selection_table(labels, scores, cut), SELECTION, {"dataset": dataset.fingerprint}),
        config=config.model_dump(mode="json"),
        parents={"dataset": dataset_uri, **ranking.parents},
        facts=_facts(dataset, config, cut),
    )


def cut_by(config: PruneConfig, scores: Floats, labels: Integers, classes: Sequence[str]) -> Cut:
    """`select` by the rule of `config`, for scores and labels `[N]`."""
    return select(
        scores,
        labels,
        classes,
        keep=config.keep,
        drop=config.drop,
        band=config.band,
        minimum_per_class=config.minimum_per_class,
        floor_per_class=None if config.per_class else config.floor_per_class,
    )


def load_selection(uri: Uri) -> Tensor:
    """The kept sample_ids of a selection, int64 and ascending. Raises MissingArtifact if there is none at the URI."""
    return kept_samples(open_artifact(as_uri(uri), KIND))


def kept_samples(selection: Artifact, labels: Tensor | None = None) -> Tensor:
    """The kept sample_ids of a selection, int64 and ascending; with `labels` `[N]` of the train split that it must be one of.

    Raises DamagedArtifact if its table is not what its manifest counts, or has other labels.
    """
    table = selection_rows(selection)
    if labels is not None and not torch.equal(torch.from_numpy(table["label"].to_numpy().astype(np.int64)), labels):
        raise DamagedArtifact(f"{selection.place(FILE)} has other labels than the data set that it was made for: {again(selection.uri)}")
    kept = table["sample_id"].to_numpy()[table["kept"].to_numpy()]
    return torch.from_numpy(kept.astype(np.int64))


def selection_rows(selection: Artifact) -> pa.Table:
    """The table of a selection, see `bilp.artifacts.tables.SELECTION`. Raises DamagedArtifact if it is not what the manifest counts."""
    facts = selection.stated(SelectionFacts)
    table = selection.table(FILE, SELECTION, rows=facts.total, below={"label": len(facts.class_names)})
    labels, kept = table["label"].to_numpy(), table["kept"].to_numpy()
    counts = [np.bincount(part, minlength=len(facts.class_names)).tolist() for part in (labels, labels[kept])]
    if counts != [list(facts.total_per_class), list(facts.kept_per_class)]:
        raise DamagedArtifact(f"{selection.place(FILE)} keeps other numbers of each class than the manifest says: {again(selection.uri)}")
    return table


def selection_table(labels: NDArray[np.int64], scores: NDArray[np.float64], cut: Cut) -> pa.Table:
    """One row per sample with its label, score `[N]`, rank and fate."""
    return pa.table(
        {
            "sample_id": np.arange(len(labels), dtype=np.int64),
            "label": labels.astype(np.int32),
            "score": scores,
            "rank_in_class": cut.rank_in_class.astype(np.int32),
            "kept": cut.kept,
        },
        schema=SELECTION,
    )


def _facts(dataset: Dataset, config: PruneConfig, cut: Cut) -> dict[str, Any]:
    """What the manifest tells about a selection; lists are in the order of class_names."""
    return {
        "dataset": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        **config.model_dump(mode="json", context=AS_TYPED, include={"criterion", "drop", "keep", "band", "per_class", "floor_per_class"}),
        "total": len(cut.kept),
        "kept": int(cut.kept.sum()),
        "total_per_class": cut.total_per_class.tolist(),
        "kept_per_class": cut.kept_per_class.tolist(),
        # Scores that stay lie between these two, so the second is the threshold when high scores are dropped.
        "lowest_kept_per_class": cut.lowest_kept.tolist(),
        "highest_kept_per_class": cut.highest_kept.tolist(),
    }
