"""The table of suspects: one row per training sample, in the order of sample_id, with the names that cleanlab's Datalab has."""

from __future__ import annotations

import pyarrow as pa

from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare
from bilp.config.criteria import SUMMARIZED

_COUNT, _NUMBER, _SHARE = (0, 2**53), (0, 2**31), (0.0, 1.0)
_UNKNOWN = frozenset({"kept_by_score", "effect", "signed_effect", "rounds_dropped", "rounds_measured"})

STATISTICS = tuple(name for name, column in SUMMARIZED.items() if not column.gradients)
"""Columns of the summary of the trials that every scoring has."""

SUSPECTS = declare(
    pa.schema(
        {
            "sample_id": pa.int64(),
            "rank": pa.int64(),
            "path": pa.string(),
            "sha256": pa.string(),
            "given_label": pa.string(),
            "predicted_label": pa.string(),
            "label": pa.int32(),
            "predicted": pa.int32(),
            "is_label_issue": pa.bool_(),
            "label_score": pa.float32(),
            "reviewed": pa.bool_(),
            "self_confidence": pa.float32(),
            "normalized_margin": pa.float32(),
            **{name: pa.float32() for name in STATISTICS},
            "margin_rank_in_class": pa.int32(),
            "kept_by_score": pa.bool_(),
            "effect": pa.float32(),
            "signed_effect": pa.float32(),
            "rounds_dropped": pa.int32(),
            "rounds_measured": pa.int32(),
            "is_near_duplicate_issue": pa.bool_(),
            "near_duplicate_score": pa.float32(),
            "distance_to_nearest_neighbor": pa.float32(),
            "nearest_duplicate": pa.int64(),
            "near_duplicate_sets": pa.int64(),
        }
    ),
    Rules(
        ranges={
            "sample_id": _COUNT,
            "rank": (1, 2**53),
            **dict.fromkeys(("label", "predicted", "margin_rank_in_class", "rounds_dropped", "rounds_measured"), _NUMBER),
            **dict.fromkeys(("label_score", "self_confidence", "normalized_margin", "near_duplicate_score"), _SHARE),
            "nearest_duplicate": (-1, 2**53),
            "near_duplicate_sets": (-1, 2**53),
        },
        nullable=_UNKNOWN,
        places="sample_id",
        once=("rank",),
        always=("sample_id",),
    ),
)
"""rank: 1 is the most suspicious. label and predicted are the numbers of given_label and predicted_label.

label_score: from 0 (bad) to 1, by the score that the list is ranked by. is_label_issue: ranked among the estimated number of errors.
margin_rank_in_class: place by aum among the samples of the given label, 1 the lowest. Null where nobody knows: kept_by_score without
static pruning; effect (last measured), rounds_measured and, of these, rounds_dropped without adaptive pruning. nearest_duplicate: the
most similar other sample; near_duplicate_sets: the number of the set of duplicates; -1 for none."""
