"""Rankings: the scores that a selection is made by, wherever they come from; read, drawn or computed only if they are needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.artifacts.facts import SummaryFacts
from bilp.atlas.ranking import entry_scores, fitting_entry
from bilp.config import PruneConfig, ScoreConfig
from bilp.config.criteria import CRITERIA
from bilp.data import Dataset
from bilp.errors import ConfigError
from bilp.pruning.static import random_scores
from bilp.registry import resolve
from bilp.scoring.added_criterion import summary_by
from bilp.scoring.agreement import agreement
from bilp.scoring.score_list import LARGEST as LARGEST_LIST
from bilp.scoring.score_list import parse_score_list
from bilp.scoring.summary import criterion_scores, records, scoring_of, trials_of
from bilp.storage.objects import read
from bilp.storage.verification import digest


@dataclass(frozen=True)
class Ranking:
    """Scores `[N]` of the samples of a train split, as a function of its labels `[N]`."""

    identity: str
    """Says what the scores are, in the key of the selection: equal only if the scores are."""
    scores: Callable[[NDArray[np.int64]], NDArray[np.float64]]
    parents: dict[str, str] = field(default_factory=dict)
    """URIs of what the scores come from, by role."""
    scoring: Callable[[], ScoreConfig] | None = None
    """The settings of the scoring that they come from, if there was one."""
    told: dict[str, Any] = field(default_factory=dict)
    """What the manifest of a selection tells about them besides."""
    agreement: Callable[[], float | None] | None = None
    """How often the scoring's networks, where they are sure, agree with the labels (`bilp.scoring.agreement`), if it recorded that."""


def ranking_of(dataset: Dataset, scores_uri: str | None, config: PruneConfig, root: str) -> Ranking:
    """The ranking by the criterion of `config`.

    Scores are those of the summary at `scores_uri`, or of one that is made of its trials below `root` if it has none for the
    criterion. Raises ConfigError if there is none, and IncompatibleArtifact for one of another data set.
    """
    criterion = CRITERIA[config.criterion]
    if criterion.ranking is not None:
        made: Ranking = resolve(criterion.ranking)(dataset, config)
        return made
    if config.scores is not None:
        return atlas_ranking(dataset, config.scores, config.criterion)
    if scores_uri is None:
        raise ConfigError(f"criterion {config.criterion} needs scores: run score and summarize first and give the summary's URI")
    summary = summary_by(scores_uri, config.criterion, dataset, root)
    stated = summary.stated(SummaryFacts)
    return Ranking(
        f"summary {summary.manifest.key}",
        lambda labels: criterion_scores(summary, config.criterion),
        {"scores": summary.uri},
        lambda: scoring_of(summary),
        {} if stated.extended is None else {"scores_version": stated.version},
        (lambda: agreement(records(trials_of(summary), scoring_of(summary), len(dataset.train)))) if criterion.column is not None else None,
    )


def given_scores(dataset: Dataset, config: PruneConfig) -> str:
    """What the scores are that `config` names a place of, `Ranking.identity`. Raises as `ranking_of`."""
    if config.scores is not None:
        return atlas_ranking(dataset, config.scores, config.criterion).identity
    return external_ranking(dataset, config).identity


def random_ranking(dataset: Dataset, config: PruneConfig) -> Ranking:
    """Random numbers, drawn from the seed: the control."""
    return Ranking(f"random {config.seed}", lambda labels: random_scores(labels, dataset.classes, config.seed))


def atlas_ranking(dataset: Dataset, uri: str, criterion: str) -> Ranking:
    """The scores of an entry of an atlas. Raises IncompatibleArtifact if none fits."""
    opened = fitting_entry(uri, dataset, criterion)
    entry = opened.entry
    return Ranking(
        f"atlas {entry.key} {entry.table.sha256}",
        lambda labels: entry_scores(opened, criterion, labels),
        {"atlas": opened.uri},
        told={"atlas": {"entry": entry.key, "title": entry.title, "table": entry.table.sha256}},
    )


def external_ranking(dataset: Dataset, config: PruneConfig) -> Ranking:
    """The published list at `config.score_list`. Raises DataError if it does not fit the data set."""
    place = str(config.score_list)
    data = read(place, most=LARGEST_LIST)
    train, test = len(dataset.train), len(dataset.test)
    return Ranking(f"list {digest(data)}", lambda labels: parse_score_list(data, place, train, test), {"score_list": place})
