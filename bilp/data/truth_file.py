"""How the truth about a data set that was changed on purpose is stored: an artifact of its own beside the record of its source.

datasets/<name>/truth/<key>/        <key> is that of the record, datasets/<name>/sources/<key>

This module writes it and reads nothing. `bilp.truth` reads it, for those that judge results; nothing that scores, prunes, distills or
trains may (`tests/truth/test_truth_out_of_reach.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.artifacts import parquet
from bilp.artifacts.artifact import find
from bilp.artifacts.publication import TableFile, publish_table, replace
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare
from bilp.storage import objects

KIND = "truth"
TRUTHS = "truth"
"""Folder of these artifacts beside the records of sources."""
FILE = "truth.parquet"
NO_COPY = -1
TRUTH = declare(
    pa.schema(
        [
            ("sample_id", pa.int64()),
            ("label", pa.int32()),
            ("true_label", pa.int32()),
            ("wrong", pa.bool_()),
            ("copy_of", pa.int64()),
        ]
    ),
    Rules(ranges={"label": (0, 2**31), "true_label": (0, 2**31), "copy_of": (NO_COPY, 2**53)}, places="sample_id"),
)
"""Every sample of the train split: the label that it has, the one that the source had, whether they differ, and the sample that it
is a copy of (-1: none)."""


@dataclass(frozen=True)
class KnownTruth:
    """What is known of the train split's N samples: given and true labels, and what each is a copy of; int64 `[N]` each."""

    label: NDArray[np.int64]
    true_label: NDArray[np.int64]
    copy_of: NDArray[np.int64]


def truth_uri(record_uri: str) -> str:
    """Where the truth lies, given the record of the source."""
    home, _, key = record_uri.rstrip("/").rsplit("/", 2)
    return objects.join(home, TRUTHS, key)


def publish_truth(record_uri: str, fingerprint: str, known: KnownTruth, config: Mapping[str, Any]) -> str:
    """Publish the truth that belongs to a record, before that itself is published; its URI.

    One about another data set is replaced: the source has changed since, as for the record.

    Args:
        record_uri: Where the record of the source will lie.
        fingerprint: Of the data set, which is published already.
        known: What is true of it.
        config: Settings of the record.
    """
    uri = truth_uri(record_uri)
    key = uri.rsplit("/", 1)[-1]
    wrong = known.label != known.true_label
    table = pa.table(
        {
            "sample_id": np.arange(len(wrong), dtype=np.int64),
            "label": known.label.astype(np.int32),
            "true_label": known.true_label.astype(np.int32),
            "wrong": wrong,
            "copy_of": known.copy_of.astype(np.int64),
        },
        schema=TRUTH,
    )
    copies = int((known.copy_of != NO_COPY).sum())
    stated: dict[str, Any] = {
        "config": config,
        "parents": {"dataset": objects.join(uri.rsplit("/", 2)[0], fingerprint)},
        "facts": {"dataset": fingerprint, "samples": len(wrong), "wrong": int(wrong.sum()), "copies": copies},
    }
    there = find(uri, KIND, key)
    if there is not None and there.fact("dataset") != fingerprint:
        content = parquet.encode(table, TRUTH, {"stage": KIND, "key": key, "dataset": fingerprint})
        return replace(there, {FILE: content}, **stated).uri
    return publish_table(uri, KIND, key, TableFile(FILE, table, TRUTH, {"dataset": fingerprint}), **stated)
