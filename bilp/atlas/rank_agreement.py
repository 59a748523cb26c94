"""Two scorings of one data set side by side: rank correlation, and how far the images agree that are kept by either."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilp.atlas.entries import Opened
from bilp.config.criteria import End
from bilp.errors import IncompatibleArtifact

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SHARES = tuple(step / 10 for step in range(1, 10))
"""Shares of each class that are kept."""


@dataclass(frozen=True)
class Scored:
    """One criterion of an entry: labels `[N]` and scores `[N]`."""

    title: str
    criterion: str
    drop: End
    class_names: tuple[str, ...]
    fingerprint: str
    labels: Integers
    scores: Floats


@dataclass(frozen=True)
class Agreement:
    """How far two scorings agree.

    correlation `[C]` is Spearman's in each class, overall that of all images and within their mean over classes. overlap holds for each of
    SHARES the part of the kept images that both keep, by_chance the part that two random choices have in common.
    """

    first: Scored
    second: Scored
    correlation: Floats
    overall: float
    within: float
    overlap: tuple[float, ...]
    by_chance: tuple[float, ...]


def scored(opened: Opened, criterion: str | None = None) -> Scored:
    """A criterion of an entry, the first by default. Raises IncompatibleArtifact, naming those it has, if that is none of them."""
    entry = opened.entry
    named = {column.name: column for column in entry.criteria}
    if criterion is not None and criterion not in named:
        raise IncompatibleArtifact(f"{opened.uri} has no scores by {criterion}: give one of {', '.join(named)}")
    column = named[criterion] if criterion is not None else entry.criteria[0]
    table = opened.table()
    data = entry.dataset
    labels = table["label"].to_numpy().astype(np.int64)
    return Scored(
        entry.title, column.name, column.drop, data.class_names, data.fingerprint, labels, table[column.name].to_numpy().astype(np.float64)
    )


def agreement(first: Scored, second: Scored) -> Agreement:
    """Compare two scorings. Raises IncompatibleArtifact unless they are of equally many images with equal labels, and all have scores."""
    if not np.array_equal(first.labels, second.labels):
        raise IncompatibleArtifact(
            f"{first.title} and {second.title} have other labels ({len(first.labels):,} and {len(second.labels):,} images): "
            "compare scores of one data set"
        )
    for each in (first, second):
        if not np.isfinite(each.scores).all():
            raise IncompatibleArtifact(f"{each.title} has no {each.criterion} of some images: choose another criterion")
    members = np.split(np.argsort(first.labels, kind="stable"), np.cumsum(np.bincount(first.labels, minlength=len(first.class_names)))[:-1])
    correlation = np.array([spearman(first.scores[ids], second.scores[ids]) for ids in members])
    kept = [tuple(_best(each.scores, each.drop, ids) for ids in members) for each in (first, second)]
    overlaps, chances = zip(*(_overlap(kept[0], kept[1], share) for share in SHARES), strict=True)
    within = float(np.nanmean(correlation)) if np.isfinite(correlation).any() else np.nan
    return Agreement(first, second, correlation, spearman(first.scores, second.scores), within, overlaps, chances)


def spearman(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation of two rows of numbers `[n]`, equal ones with their mean rank; NaN if all of a row are equal."""
    ranks = [average_ranks(values) for values in (one, other)]
    centered = [values - values.mean() for values in ranks]
    scale = float(np.sqrt((centered[0] ** 2).sum() * (centered[1] ** 2).sum())) if len(one) else 0.0
    return float((centered[0] * centered[1]).sum() / scale) if scale > 0 else np.nan


def average_ranks(values: Floats) -> Floats:
    """Ranks of numbers `[n]` from 1; equal ones have the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[place]
    return ranks


def _best(scores: Floats, drop: End, ids: Integers) -> Integers:
    """The samples of a class, the first to stay before the first to go; equal scores in order of their index, as a cut takes them."""
    ascending = ids[np.argsort(scores[ids], kind="stable")]
    return ascending if drop == "high" else ascending[::-1]


def _overlap(first: tuple[Integers, ...], second: tuple[Integers, ...], share: float) -> tuple[float, float]:
    """The part of the kept images that is common, and that of random choices."""
    common = kept = expected = 0.0
    for one, other in zip(first, second, strict=True):
        count = int(np.floor(share * len(one) + 0.5))
        common += len(np.intersect1d(one[:count], other[:count], assume_unique=True))
        kept += count
        expected += count * count / len(one) if len(one) else 0.0
    return (common / kept, expected / kept) if kept else (np.nan, np.nan)
