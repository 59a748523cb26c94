"""The corrections that were applied to a data set, in the record of its source: who reviews it again sees what was decided."""

from __future__ import annotations

import pyarrow as pa

from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare

FILE = "corrections.parquet"
GONE = -1
CORRECTIONS = declare(
    pa.schema(
        [
            ("sample_id", pa.int64()),
            ("origin", pa.string()),
            ("given_label", pa.int32()),
            ("label", pa.int32()),
            ("action", pa.string()),
            ("note", pa.string()),
        ]
    ),
    Rules(
        ranges={"sample_id": (GONE, 2**53), "given_label": (0, 2**31), "label": (0, 2**31)},
        texts={"action": "^(keep|drop|relabel)$"},
    ),
)
"""Every image of the train split that a person has decided on: its sample_id in the data set (-1: dropped), where it came from, the label
that it had and the one that it has since, the decision (keep, drop, relabel), the note."""
