"""What holds for the rows of a table beyond the types of its columns, and the check of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bilp.errors import DamagedArtifact

LONGEST_TEXT = 2**16
"""Bytes of one value."""
MOST_TEXT = 2**30
"""Bytes of all values of a column."""
_REMEDY = "compute it again"


@dataclass(frozen=True)
class Rules:
    """The invariants of a table; what is said of columns holds for those that are read."""

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Least and greatest value; other columns of numbers may hold any."""
    undefined: frozenset[str] = frozenset()
    """Columns of floats that may be NaN; no other may, and none is infinite unless its range says so."""
    infinite: frozenset[str] = frozenset()
    """Columns of floats that may be infinite."""
    nullable: frozenset[str] = frozenset()
    """Columns that may hold nulls, for what is not known; no other may."""
    places: str | None = None
    """Column that counts the rows from 0."""
    ascending: tuple[str, ...] = ()
    """Columns by which the rows are sorted, the most important first; no two rows are equal in all of them."""
    once: tuple[str, ...] = ()
    """Columns in all of which no two rows are equal, whatever their order."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions that a column of texts fulfils."""
    most: int | None = None
    """Rows that no table of this kind exceeds."""
    always: tuple[str, ...] = ()
    """Columns that are read for the checks whichever are asked for."""
    added: Mapping[str, float | bool | str] = field(default_factory=dict)
    """Columns that came when tables were stored already, the last of the schema, and the value that stands for one that an older
    table lacks (NaN where it is not known). Every other column is required."""

    def most_rows(self, below: Mapping[str, int]) -> int | None:
        """Rows that a table cannot exceed whose whole numbers stay `below` these: those of a column that has each once."""
        counting = self.places or (self.ascending[0] if len(self.ascending) == 1 else None)
        return below.get(counting, self.most) if counting is not None else self.most


def check_rows(table: pa.Table, rules: Rules, below: Mapping[str, int]) -> None:
    """Raise DamagedArtifact, naming column and row, unless the table keeps the rules and whole numbers are `below` these."""
    for name in table.column_names:
        column = table[name]
        if name in rules.nullable:
            column = column.drop_null()
        if column.null_count:
            raise DamagedArtifact(f"column {name} holds {column.null_count} nulls: {_REMEDY}")
        if pa.types.is_floating(column.type):
            values = column.to_numpy()
            bad = np.isnan(values) if name not in rules.undefined else np.zeros(len(values), dtype=np.bool_)
            bad |= np.isinf(values) if name not in rules.infinite else False
            _require(name, values, ~bad, "a finite number")
        if name in rules.ranges or name in below:
            low, high = rules.ranges.get(name, (-math.inf, math.inf))
            high = min(high, below.get(name, math.inf) - 1)
            values = column.to_numpy()
            within = (values >= low) & (values <= high)
            _require(name, values, within | np.isnan(values) if values.dtype.kind == "f" else within, f"from {low:g} to {high:g}")
        if name in rules.texts:
            fits = pc.match_substring_regex(column, rules.texts[name]).to_numpy()
            _require(name, column, fits, f"a text like {rules.texts[name]}")
    _check_order(table, rules)


def _check_order(table: pa.Table, rules: Rules) -> None:
    there = set(table.column_names)
    if rules.places is not None and rules.places in there:
        values = table[rules.places].to_numpy()
        _require(rules.places, values, values == np.arange(len(values)), "the number of its row")
    if rules.ascending and there >= set(rules.ascending):
        greater, equal = np.zeros(max(len(table) - 1, 0), dtype=np.bool_), np.ones(max(len(table) - 1, 0), dtype=np.bool_)
        for name in rules.ascending:
            values = table[name].to_numpy()
            greater |= equal & (values[1:] > values[:-1])
            equal &= values[1:] == values[:-1]
        _require(rules.ascending[0], table[rules.ascending[0]], np.append(True, greater), f"in the order of {', '.join(rules.ascending)}")
    if rules.once and there >= set(rules.once):
        different = table.group_by(list(rules.once)).aggregate([]).num_rows
        if different < len(table):
            raise DamagedArtifact(f"{len(table) - different} rows are there twice (equal in {', '.join(rules.once)}): {_REMEDY}")


def _require(name: str, values: np.ndarray | pa.ChunkedArray, right: np.ndarray, what: str) -> None:
    wrong = np.flatnonzero(~right[: len(values)])
    if len(wrong):
        row = int(wrong[0])
        found = ascii(values[row].as_py() if isinstance(values, pa.ChunkedArray) else values[row].item())
        raise DamagedArtifact(f"{name} of row {row:,} is {found:.60}, not {what} ({len(wrong):,} such rows): {_REMEDY}")


def texts(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of texts that was read as numbers into a dictionary; DamagedArtifact if it would be larger than texts are."""
    size = 0
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary).to_numpy(zero_copy_only=False)
        if len(lengths) and lengths.max() > LONGEST_TEXT:
            raise DamagedArtifact(f"{name} holds a text of {int(lengths.max()):,} bytes, {LONGEST_TEXT:,} are the most: {_REMEDY}")
        size += int(lengths[chunk.indices.drop_null().to_numpy(zero_copy_only=False)].sum()) if len(lengths) else 0
    if size > MOST_TEXT:
        raise DamagedArtifact(f"{name} holds texts of {size:,} bytes in all, {MOST_TEXT:,} are the most: {_REMEDY}")
    return column.cast(pa.string())
