"""The table that goes with a page: its trainings with what they belong to, for whoever queries many pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from bilp.artifacts.tables import EVALUATION
from bilp.config import PipelineConfig
from bilp.report.comparison import Training

FILE = "accuracy.parquet"


def table(
    key: str,
    name: str,
    config: PipelineConfig,
    changed: Mapping[str, Any],
    rows: Sequence[Training],
    scores: str,
    keep: float | str,
) -> pa.Table:
    """The trainings with what they belong to, see `bilp.artifacts.tables.REPORTED`.

    Args:
        key: Of the page.
        name: Of the data set.
        config: What was done.
        changed: The settings that are not what data set, method and images per class imply.
        rows: The trainings.
        scores: Place of the summary of scores; empty if there is none.
        keep: Share that static pruning keeps; a word where nothing was pruned, which stands for all.
    """
    belonging = {
        "run": key,
        "dataset": name,
        "method": config.method,
        "ipc": config.ipc,
        "keep": 1.0 if isinstance(keep, str) else keep,
        "beta": config.beta,
        "run_seed": config.seed,
        "recipe": config.recipe or "",
        "changed": json.dumps(dict(changed), sort_keys=True, ensure_ascii=False),
    }
    columns: dict[str, Any] = {column: [value] * len(rows) for column, value in belonging.items()}
    columns |= {column: [getattr(row, column) for row in rows] for column in EVALUATION.names}
    return pa.table(columns | {"scores": [scores] * len(rows)})
