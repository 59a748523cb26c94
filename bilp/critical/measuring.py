"""Measure critical shares: distill and evaluate every share in pairs with all samples, and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.artifacts.artifact import open_artifact
from bilp.config import ReselectConfig
from bilp.config.arms import needs_scores
from bilp.critical.plan import CriticalOptions, Plan, kept, planned
from bilp.critical.share_tests import compared, critical
from bilp.critical.shares import Measured, key_of, known, publish_critical, uri_of
from bilp.data import Dataset, open_dataset
from bilp.evaluate.metrics import interval
from bilp.evaluate.rows import KIND as EVALUATION
from bilp.evaluate.rows import evaluation_rows
from bilp.pruning.prune import prune
from bilp.search.carrier import Carrier, Distillation

ALL, PART = "unpruned", "static"
"""Arms: the sets are those that a pipeline distills with the same settings."""


@dataclass(frozen=True)
class _Point:
    """A share of a criterion; None for all samples."""

    criterion: str | None
    share: float


def counts_of(dataset: Dataset) -> NDArray[np.int64]:
    """Training images of each class `[C]`."""
    found: NDArray[np.int64] = np.bincount(dataset.train.labels.numpy(), minlength=dataset.classes)
    return found


def measure(given: Mapping[str, Any], options: CriticalOptions, dataset_uri: str, root: str, carrier: Carrier) -> str:
    """The URI of the critical shares of a data set. It may be killed at any time: every run and evaluation is found again.

    Networks are tested on the test images: the outcome is a measurement, and no setting is chosen by it.
    Raises ConfigError for what cannot be measured.

    Args:
        given: Settings of the pipeline, as `bilp.settings` takes them.
        options: What is asked.
        dataset_uri: The data set.
        root: Where results lie.
        carrier: Carries out the stages.
    """
    dataset = open_dataset(dataset_uri)
    counts = counts_of(dataset)
    plan = planned(given, options, counts)
    key = key_of(plan, dataset)
    if known(root, key):
        return uri_of(root, key)
    carrier.tell(plan.stated)
    points = [_Point(None, 1.0), *(_Point(name, share) for name in plan.by_criterion for share in plan.shares)]
    wanted = _wanted(points, plan, dataset_uri, root, carrier)
    runs = carrier.distill("critical shares", wanted)
    uris = carrier.evaluate("critical shares", list(zip(runs, wanted, strict=True)), plan.config.evaluate)
    accuracies = dict(zip(points, _by_point(uris, options.distillations), strict=True))
    measured = _tested(accuracies, plan, counts)
    return publish_critical(root, key, plan, measured, dataset, uris)


def _wanted(points: Sequence[_Point], plan: Plan, dataset_uri: str, root: str, carrier: Carrier) -> list[Distillation]:
    """The distillations of every point. Selections that are drawn are drawn anew for each."""
    scores: dict[str, str | None] = {}
    for name, config in plan.by_criterion.items():
        scores[name] = carrier.score(dataset_uri, config.score) if needs_scores(config.prune) else None
    found = []
    for point in points:
        for k in range(plan.options.distillations):
            selection = None
            if point.criterion is not None:
                rule = plan.by_criterion[point.criterion].prune
                drawn = rule.model_copy(update={"keep": point.share, "seed": rule.seed + k})
                selection = prune(dataset_uri, scores[point.criterion], drawn, root)
            distill = plan.config.distill.model_copy(update={"seed": plan.config.distill.seed + k})
            label = "all samples" if point.criterion is None else f"{point.criterion} {100 * point.share:g} %"
            arm = ALL if point.criterion is None else PART
            found.append(Distillation(dataset_uri, selection, distill, ReselectConfig(beta=0.0), arm, f"{label}, {k + 1}", k))
    return found


def _by_point(uris: Sequence[str], distillations: int) -> list[NDArray[np.float64]]:
    """Accuracies `[distillations, trainings]` of each point, trainings in the order of networks and seeds."""
    rows = [sorted(evaluation_rows(open_artifact(uri, EVALUATION)), key=lambda row: (row["network"], row["seed"])) for uri in uris]
    values = np.array([[float(row["accuracy"]) for row in of_set] for of_set in rows])
    return np.split(values, len(values) // distillations)


def _tested(accuracies: Mapping[_Point, NDArray[np.float64]], plan: Plan, counts: NDArray[np.int64]) -> list[Measured]:
    whole = accuracies[_Point(None, 1.0)]
    tolerance = plan.options.tolerance / 100
    found = []
    for name in plan.by_criterion:
        points = {share: accuracies[_Point(name, share)] for share in plan.shares}
        tests = {share: compared(share, (values - whole).mean(axis=1), tolerance) for share, values in points.items()}
        outcome = critical(list(tests.values()), tolerance, plan.options.level)
        means = {1.0: whole.mean(axis=1)} | {share: values.mean(axis=1) for share, values in points.items()}
        intervals = {share: interval(values.tolist()) for share, values in means.items()}
        samples = {share: kept(counts, share) for share in means}
        found.append(Measured(name, outcome, tests, intervals, samples))
    return found
