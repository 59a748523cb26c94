"""Tables as CSV files for spreadsheets: every table that is written goes through here."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from bilp.text.escaping import spreadsheet


def plain_cell(value: Any) -> Any:
    """Text that a spreadsheet would calculate is quoted; everything else is as it is."""
    return spreadsheet(value) if isinstance(value, str) else value


def write_csv(target: TextIO, head: Iterable[str], rows: Iterable[Iterable[Any]], cell: Callable[[Any], Any] = plain_cell) -> None:
    """Write a table with lines that end in a line feed; `cell` makes of each value what is written, and has to quote text."""
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(map(spreadsheet, head))
    writer.writerows(map(cell, row) for row in rows)


def csv_text(head: Iterable[str], rows: Iterable[Iterable[Any]], cell: Callable[[Any], Any] = plain_cell) -> str:
    """The same as a text."""
    target = io.StringIO(newline="")
    write_csv(target, head, rows, cell)
    return target.getvalue()
