"""The list of suspects, and the template of corrections, as CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilp.data.alterations.corrections_file import COLUMNS, decided_rows
from bilp.text.escaping import spreadsheet

BLOCK = 2**14
"""Rows that are turned into text at a time."""
SPLIT = "train"


def write_list(file: Path, ranked: pa.Table) -> None:
    """All rows in their order, numbers with seven digits."""
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(ranked.column_names)
        for batch in ranked.to_batches(max_chunksize=BLOCK):
            writer.writerows(zip(*([_cell(value) for value in column.to_pylist()] for column in batch.columns), strict=True))


def write_corrections(file: Path, ranked: pa.Table, most: int) -> None:
    """A template (`bilp.data.alterations.corrections_file`) with the first `most` rows that nobody has reviewed: what networks say of each
    is its note, and no action is decided. A row has an index only where its image has no path."""
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in ranked.slice(0, most).to_pylist():
            if not row["reviewed"]:
                note = f"networks say {row['predicted_label']}, label score {row['label_score']:.3f}"
                names = (row["path"], "" if row["path"] else row["sample_id"], row["sha256"], row["given_label"])
                writer.writerow([_cell(value) for value in (SPLIT, *names, "", "", note)])


def after_decisions(template: bytes, file: str) -> bytes:
    """The template below the rows of a file of corrections that are decided: who goes on has everything in one file.

    Raises DataError for a file that is no table of corrections.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for _, row in decided_rows(file))
    return buffer.getvalue().encode() + template.partition(b"\n")[2]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.7g}"
    return spreadsheet(value) if isinstance(value, str) else value
