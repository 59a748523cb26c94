"""Stage prune: a score for every sample becomes a published selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from bilp.config.base import as_recorded, unused
from bilp.config.given import model_of
from bilp.config.rules import RULES
from bilp.config.words import AUTO, SEARCH
from bilp.data import Dataset, open_dataset
from bilp.errors import ConfigError, DamagedArtifact
from bilp.progress import Progress, silent
from bilp.pruning import auto
from bilp.pruning.choice import Choice, Chosen, Features, Found
from bilp.pruning.embedding import features_of
from bilp.pruning.rankings import ranking_of
from bilp.pruning.static import Cut, Floats, Integers, cut, ranked
from bilp.registry import AS_TYPED, resolve
from bilp.storage.objects import Uri, as_uri, join, optional_uri
from bilp.storage.verification import again

VERSION = 2
KIND = "selection"
FILE = "selection.parquet"


def prune(
    dataset_uri: Uri,
    scores_uri: Uri | None,
    config: PruneConfig | Mapping[str, Any],
    root: Uri,
    device: str = "cpu",
    progress: Progress = silent,
) -> str:
    """Choose among the train split by the criterion and the rule of `config` and return the selection's URI.

    The table holds every sample (score, rank in its class, kept or not), the facts the counts and thresholds of every class.

    Args:
        dataset_uri: the data set, as ingest published it.
        scores_uri: a summary of `bilp.scoring`; criteria that need no scoring do not read it.
        config: which samples stay.
        root: the storage's root.
        device: where a network is trained, for rules that need features.
        progress: told the batches of that training.

    Raises ConfigError if there is nothing to rank by or too little of a class would stay, DataError for a score list
    that does not fit, IncompatibleArtifact for scores of another data set.
    """
    dataset_uri = as_uri(dataset_uri)
    scores_uri = optional_uri(scores_uri)
    config = model_of(PruneConfig, config)
    root = as_uri(root)
    if config.keep == SEARCH:
        raise ConfigError("keep search stands for a number that is found before any stage runs: run a whole pipeline, or give a number")
    dataset = open_dataset(dataset_uri)
    ranking = ranking_of(dataset, scores_uri, config, root)
    key = content_key("prune", VERSION, dataset=dataset.fingerprint, scores=ranking.identity, rule=identity(config))
    uri = join(root, "selections", key)
    if there_already(uri, KIND, key, shown=True) is not None:
        return uri
    labels = dataset.train.labels.numpy()
    scores = ranking.scores(labels)
    features = None
    if RULES[config.rule].features and ranking.scoring is not None:
        features = features_of(dataset, ranking.scoring(), device, progress)
    cut, found = chosen_by(config, scores, labels, dataset.class_names, features, ranking.agreement)
    return publish_table(
        uri,
        KIND,
        key,
        TableFile(FILE, selection_table(labels, scores, cut), SELECTION, {"dataset": dataset.fingerprint}),
        config=config,
        parents={"dataset": dataset_uri, **ranking.parents},
        facts=selection_facts(dataset, config, cut, found) | ranking.told,
        device=device if RULES[config.rule].features else None,
    )


def identity(config: PruneConfig) -> dict[str, Any]:
    """What the key holds of the settings: neither places of scores, nor a seed that draws nothing, and versions of what computes."""
    rule = RULES[config.rule]
    settings = as_recorded(config, {"score_list": True, "scores": True, **({} if rule.draws else {"seed": True})})
    versions = {
        name: version for name, version in (("rule_version", rule.version), ("auto_version", auto.AUTO_VERSION)) if _counts(name, config)
    }
    return {**settings, **versions}


def _counts(version: str, config: PruneConfig) -> bool:
    """Selections were keyed before rules had versions: that of the first rule counts from its second on."""
    return config.keep == AUTO if version == "auto_version" else "rule" not in unused(config) or RULES[config.rule].version > 1


def cut_by(config: PruneConfig, scores: Floats, labels: Integers, classes: Sequence[str]) -> Cut:
    """The outcome of a selection by the settings of `config`, which asks for no features, for scores and labels `[N]`."""
    return chosen_by(config, scores, labels, classes)[0]


def chosen_by(
    config: PruneConfig,
    scores: Floats,
    labels: Integers,
    classes: Sequence[str],
    features: Features | None = None,
    agreement: Callable[[], float | None] | None = None,
) -> tuple[Cut, Found | None]:
    """The outcome of a selection, and what a mixture found if keep is auto.

    Args:
        config: which samples stay.
        scores: of the samples, float64 `[N]`.
        labels: of the samples, int64 `[N]`.
        classes: names, whose positions are the labels.
        features: of samples, for rules that ask for them.
        agreement: how often networks that are sure agree with the labels, for keep auto.

    Raises DataError for scores that are not finite, and ConfigError if too little of a class would stay.
    """
    samples = ranked(scores, labels, classes)
    choose: Callable[[Choice], Chosen] = resolve(RULES[config.rule].chooser)
    chosen = choose(Choice(samples, config, features, agreement))
    return cut(samples, chosen.kept, config.minimum_per_class, chosen.remedy), chosen.found


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


def selection_facts(dataset: Dataset, config: PruneConfig, cut: Cut, found: Found | None) -> dict[str, Any]:
    """What the manifest tells about a selection; lists are in the order of class_names."""
    told = {"criterion", "drop", "keep", "band", "per_class", "floor_per_class"}
    later = {name: getattr(config, name) for name in ("low_share", "strata", "hardest", "neighbors", "gamma") if name not in unused(config)}
    return {
        "dataset": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        **config.model_dump(mode="json", context=AS_TYPED, include=told),
        **({} if "rule" in unused(config) else {"rule": config.rule}),
        **later,
        **({} if found is None else {"keep": int(cut.kept.sum()) / len(cut.kept), "mixture": _mixture(found)}),
        "total": len(cut.kept),
        "kept": int(cut.kept.sum()),
        "total_per_class": cut.total_per_class.tolist(),
        "kept_per_class": cut.kept_per_class.tolist(),
        # Scores that stay lie between these two, so the second is the threshold when high scores are dropped.
        "lowest_kept_per_class": cut.lowest_kept.tolist(),
        "highest_kept_per_class": cut.highest_kept.tolist(),
    }


def _mixture(found: Found) -> dict[str, Any]:
    parts = {"weight": found.weights, "mean": found.means, "std": found.stds}
    listed = {f"{end}_{name}": values[k].tolist() for name, values in parts.items() for k, end in enumerate(("low", "high"))}
    agreed = {} if found.agreement is None else {"agreement": found.agreement}
    return {"split": found.split, "separation": found.separation, **agreed, **listed}
