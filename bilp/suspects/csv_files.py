"""The list of suspects, and the template of corrections, as CSV for spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bilp.data.alterations.corrections_file import COLUMNS, decided_rows
from bilp.text.csv_text import csv_text, write_csv
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


def write_corrections(file: Path, ranked: pa.Table, most: int, relabeled: Mapping[int, tuple[str, float]] = {}) -> None:
    """A template (`bilp.data.alterations.corrections_file`) with the first `most` rows that nobody has reviewed: what networks say of each
    is its note, and no action is decided. A row has an index only where its image has no path.

    Args:
        file: is written.
        ranked: all rows, the most suspicious first.
        most: of these are looked at.
        relabeled: names of the classes that samples get, decided already, with their probability, by sample_id; they stand at the top.
    """
    wanted = pa.array(list(relabeled), pa.int64())
    decided = ranked.filter(pc.is_in(ranked["sample_id"], wanted)).to_pylist() if relabeled else []
    open_ones = [row for row in ranked.slice(0, most).to_pylist() if not row["reviewed"] and row["sample_id"] not in relabeled]
    rows = [*(_decided(row, *relabeled[row["sample_id"]]) for row in decided), *map(_undecided, open_ones)]
    with file.open("w", encoding="utf-8", newline="") as target:
        write_csv(target, COLUMNS, rows, _cell)


def _decided(row: Mapping[str, Any], label: str, confidence: float) -> tuple[Any, ...]:
    return *_image(row), "relabel", label, f"networks say {label} with probability {confidence:.3f}"


def _undecided(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return *_image(row), "", "", f"networks say {row['predicted_label']}, label score {row['label_score']:.3f}"


def _image(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return SPLIT, row["path"], "" if row["path"] else row["sample_id"], row["sha256"], row["given_label"]


def after_decisions(template: bytes, file: str) -> bytes:
    """The template below the rows of a file of corrections that are decided: who goes on has everything in one file.

    Raises DataError for a file that is no table of corrections.
    """
    decided = csv_text(COLUMNS, ([row[name] for name in COLUMNS] for _, row in decided_rows(file)), _cell)
    return decided.encode() + template.partition(b"\n")[2]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.7g}"
    return spreadsheet(value) if isinstance(value, str) else value
