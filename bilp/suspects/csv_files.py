"""The list of suspects, and the template of corrections, as CSV for spreadsheets."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilp.data.alterations.corrections_file import COLUMNS, decided_rows
from bilp.text.csv_text import write_csv
from bilp.text.escaping import spreadsheet

BLOCK = 2**14
"""Rows that are turned into text at a time."""
SPLIT = "train"


def write_list(file: Path, ranked: pa.Table) -> None:
    """All rows in their order, numbers with seven digits."""
    with file.open("w", encoding="utf-8", newline="") as target:
        batches = ranked.to_batches(max_chunksize=BLOCK)
        rows = (row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
        write_csv(target, ranked.column_names, rows, _cell)


def write_corrections(file: Path, ranked: pa.Table, most: int) -> None:
    """A template (`bilp.data.alterations.corrections_file`) with the first `most` rows that nobody has reviewed: what networks say of each
    is its note, and no action is decided. A row has an index only where its image has no path."""
    rows = (_undecided(row) for row in ranked.slice(0, most).to_pylist() if not row["reviewed"])
    with file.open("w", encoding="utf-8", newline="") as target:
        write_csv(target, COLUMNS, rows, _cell)


def _undecided(row: Mapping[str, Any]) -> tuple[Any, ...]:
    note = f"networks say {row['predicted_label']}, label score {row['label_score']:.3f}"
    return SPLIT, row["path"], "" if row["path"] else row["sample_id"], row["sha256"], row["given_label"], "", "", note


def after_decisions(template: bytes, file: str) -> bytes:
    """The template below the rows of a file of corrections that are decided: who goes on has everything in one file.

    Raises DataError for a file that is no table of corrections.
    """
    buffer = io.StringIO()
    write_csv(buffer, COLUMNS, ([row[name] for name in COLUMNS] for _, row in decided_rows(file)), _cell)
    return buffer.getvalue().encode() + template.partition(b"\n")[2]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.7g}"
    return spreadsheet(value) if isinstance(value, str) else value
