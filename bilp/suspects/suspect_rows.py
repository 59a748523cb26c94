"""The rows of the table of suspects, put together from everything that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from bilp.data import Dataset
from bilp.suspects.confident import Floats
from bilp.suspects.evidence import Evidence
from bilp.suspects.fates import Fates
from bilp.suspects.label_scores import normalized_margin, self_confidence
from bilp.suspects.near_duplicates import Neighbors, duplicate_sets
from bilp.suspects.suspects_table import SUSPECTS


@dataclass(frozen=True)
class Known:
    """What is known of N samples besides what networks make of their labels."""

    fates: Fates
    neighbors: Neighbors
    reviewed: np.ndarray
    near: float
    """Share of the median distance to a nearest neighbor below which images are near duplicates."""


@dataclass(frozen=True)
class Ranking:
    """rank `[N]` from 1, the most suspicious; score `[N]` in 0..1, low = bad; issue `[N]`: among the estimated number of errors."""

    rank: np.ndarray
    score: Floats
    issue: np.ndarray

    @classmethod
    def by(cls, order: Floats, score: Floats, reviewed: np.ndarray, estimated: int) -> Ranking:
        """Low `order` `[N]` first, equal ones by number, `reviewed` samples `[N]` last and no issues."""
        rank = np.empty(len(order), dtype=np.int64)
        rank[np.lexsort((order, reviewed))] = np.arange(1, len(order) + 1)
        return cls(rank, score, (rank <= estimated) & ~reviewed)


def rows_of(dataset: Dataset, evidence: Evidence, ranking: Ranking, known: Known) -> pa.Table:
    """A table of the schema SUSPECTS."""
    index, names = dataset.train.index(), pa.array(dataset.class_names, pa.string())
    samples = len(evidence.labels)
    paths = [""] * samples if dataset.record is None else dataset.record.origins("train")
    columns = {
        "sample_id": np.arange(samples),
        "rank": ranking.rank,
        "path": pa.array(paths, pa.string()),
        "sha256": index["sha256"],
        "given_label": names.take(pa.array(evidence.labels)),
        "predicted_label": names.take(pa.array(evidence.predicted)),
        "label": evidence.labels,
        "predicted": evidence.predicted,
        "is_label_issue": ranking.issue,
        "label_score": ranking.score,
        "reviewed": known.reviewed,
        "self_confidence": np.clip(self_confidence(evidence), 0.0, 1.0),
        "normalized_margin": np.clip(normalized_margin(evidence), 0.0, 1.0),
        **evidence.statistics,
        "margin_rank_in_class": rank_in_class(evidence.statistics["aum"], evidence.labels),
        **vars(known.fates),
        **_duplicates(index["sha256"], known),
    }
    return pa.table({name: _array(columns[name], SUSPECTS.field(name).type, samples) for name in SUSPECTS.names}, schema=SUSPECTS)


def rank_in_class(values: Floats, labels: np.ndarray) -> np.ndarray:
    """Place `[N]` from 1, ascending, among the values of the same label; equal ones by number."""
    by_label = np.lexsort((values, labels))
    starts = np.searchsorted(labels[by_label], labels[by_label], side="left")
    places = np.empty(len(labels), dtype=np.int64)
    places[by_label] = np.arange(len(labels)) - starts + 1
    return places


def _duplicates(digests: pa.ChunkedArray, known: Known) -> dict[str, np.ndarray]:
    equal = digests.combine_chunks().dictionary_encode().indices.to_numpy()
    distance, nearest = known.neighbors.distance, known.neighbors.nearest
    compared = nearest >= 0
    middle = float(np.median(distance[compared])) if compared.any() else 0.0
    near = compared & (distance < known.near * middle)
    sets = duplicate_sets(equal, near, nearest)
    return {
        "is_near_duplicate_issue": sets >= 0,
        "near_duplicate_score": np.tanh(np.maximum(distance, 0.0) / middle) if middle > 0 else np.minimum(np.maximum(distance, 0.0), 1.0),
        "distance_to_nearest_neighbor": np.maximum(distance, 0.0),
        "nearest_duplicate": nearest,
        "near_duplicate_sets": sets,
    }


def _array(values: object, kind: pa.DataType, samples: int) -> pa.Array | pa.ChunkedArray:
    """A column; of masked values, and of None, what is not known is null."""
    if values is None:
        return pa.nulls(samples, kind)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.filled(0), mask=np.ma.getmaskarray(values)).cast(kind)
    return pa.array(values).cast(kind, safe=False)
