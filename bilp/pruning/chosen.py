"""Selections that arms need beside the static one, each made by what its entry in `bilp.config.arm_entries.SAMPLES` names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bilp.artifacts.artifact import content_key, open_artifact, there_already
from bilp.artifacts.facts import SelectionFacts
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import SELECTION
from bilp.config.arm_entries import AS_MANY_RANDOM, SAMPLES
from bilp.data import open_dataset
from bilp.errors import ConfigError
from bilp.pruning.prune import FILE, KIND, selection_table
from bilp.pruning.static import Cut, Floats, Integers, random_scores, select
from bilp.registry import resolve
from bilp.storage.objects import join

VERSION = 1
"""Of `random_selection`."""


@dataclass(frozen=True)
class Available:
    """What there is to choose by: URIs of the data set, of its source's record and of the static selection, and a seed."""

    dataset: str
    record: str | None
    static: str | None
    seed: int
    root: str

    def require_static(self) -> str:
        """The static selection. Raises ConfigError without one."""
        if self.static is None:
            raise ConfigError("these samples are chosen by the static selection, and none was given: prune first and give its URI")
        return self.static


Chooser = Callable[[Available], str]
"""From what there is to the URI of a selection."""


def choose(samples: str, of: Available) -> str | None:
    """The URI of the selection that is an entry of `SAMPLES`, made if need be; None for all samples."""
    entry = SAMPLES[samples]
    if entry.chooser is None:
        return None
    chooser: Chooser = resolve(entry.chooser)
    return chooser(of)


def static_selection(of: Available) -> str:
    """The static selection itself."""
    return of.require_static()


def random_selection(of: Available) -> str:
    """Random samples, as many of each class as the static selection keeps; the URI of a selection.

    This is the control of static pruning: the same number of real images of each class, chosen without any score.
    Raises IncompatibleArtifact for a static selection of another data set.
    """
    expected = {"dataset": open_dataset(of.dataset).fingerprint}
    static = open_artifact(of.require_static(), KIND, expect=expected)
    return random_samples(of.dataset, static.stated(SelectionFacts).kept_per_class, of.seed, of.root, static.uri)


def random_samples(dataset_uri: str, kept: Sequence[int], seed: int, root: str, static_uri: str | None = None) -> str:
    """`kept[c]` random samples of each class c; the URI of a selection.

    The draw is that of criterion random with the same seed, so that the two agree where that keeps as many.

    Args:
        dataset_uri: The real images.
        kept: Numbers of samples by class.
        seed: Of the draw.
        root: Where results lie.
        static_uri: The selection that the numbers are of, which is named among what this one was made from.
    """
    dataset = open_dataset(dataset_uri)
    key = content_key("random selection", VERSION, dataset=dataset.fingerprint, kept=list(kept), seed=seed)
    uri = join(root, "selections", key)
    if there_already(uri, KIND, key, shown=True) is not None:
        return uri
    labels = dataset.train.labels.numpy()
    scores = random_scores(labels, dataset.classes, seed)
    cut = lowest(scores, labels, dataset.class_names, np.array(kept, dtype=np.int64))
    stated: dict[str, Any] = {
        "dataset": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "criterion": "random",
        "drop": "high",
        "keep": float(cut.kept.mean()),
        "band": None,
        "per_class": True,
        "floor_per_class": 0,
        "total": len(cut.kept),
        "kept": int(cut.kept.sum()),
        "total_per_class": cut.total_per_class.tolist(),
        "kept_per_class": cut.kept_per_class.tolist(),
        "lowest_kept_per_class": cut.lowest_kept.tolist(),
        "highest_kept_per_class": cut.highest_kept.tolist(),
    }
    file = TableFile(FILE, selection_table(labels, scores, cut), SELECTION, {"dataset": dataset.fingerprint})
    parents = {"dataset": dataset_uri, **({} if static_uri is None else {"selection": static_uri})}
    config = {"samples": AS_MANY_RANDOM, "seed": seed, "kept_per_class": list(kept)}
    return publish_table(uri, KIND, key, file, config=config, parents=parents, facts=stated)


def lowest(scores: Floats, labels: Integers, classes: Sequence[str], kept: Integers) -> Cut:
    """The samples with the `kept[c]` lowest scores of each class c; scores and labels are `[N]`, `kept` is `[C]`."""
    ranked = select(scores, labels, classes, keep=1.0, minimum_per_class=0)
    stays = ranked.rank_in_class < kept[labels]
    low, high = np.full(len(classes), np.inf), np.full(len(classes), -np.inf)
    np.minimum.at(low, labels[stays], scores[stays])
    np.maximum.at(high, labels[stays], scores[stays])
    empty = kept == 0
    low[empty], high[empty] = np.nan, np.nan
    return Cut(stays, ranked.rank_in_class, ranked.total_per_class, kept, low, high)
