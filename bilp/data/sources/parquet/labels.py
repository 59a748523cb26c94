"""The label column of a Parquet file as distinct values and one code per row, whatever type the values have."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bilp.data.sources.parquet.columns import is_binary, is_list, is_text
from bilp.data.sources.parquet.tables import Table
from bilp.errors import DataError

NUMBERS, TEXT, TRUTH = "numbers", "text", "truth values"


@dataclass(frozen=True)
class LabelColumn:
    """The labels of one file.

    `values` are the distinct ones, in the order in which they occur: int if `kind` is NUMBERS, else str. `codes`,
    int64 [rows], are positions in `values`, -1 for a row without a label. `kind` is '' if no row has one. `names` are
    those of the classes 0, 1, ... as the file's metadata state them, or None.
    """

    table: Table
    column: str
    kind: str
    values: tuple[Any, ...]
    codes: NDArray[np.int64]
    names: tuple[str, ...] | None
    notes: tuple[str, ...] = ()

    def first_row(self, code: int) -> int:
        """The first row that has this code."""
        return int(np.flatnonzero(self.codes == code)[0])

    def rows_of(self, code: int) -> int:
        """How many rows have this code."""
        return int(np.count_nonzero(self.codes == code))


def read_labels(table: Table, column: str | None) -> LabelColumn:
    """Read a label column; without one, no row has a label.

    Integers of any width, floating-point numbers that are integers, text, bytes that are text, truth values, and
    dictionaries of them; null, NaN and '' are rows without a label. Raises DataError for other types and values.
    """
    if column is None:
        return LabelColumn(table, "", "", (), np.full(table.rows, -1, np.int64), None)
    kind, values, notes = _plain(table.column(column), table, column)
    encoded = values.combine_chunks().dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    distinct: list[Any] = encoded.dictionary.to_pylist()
    if kind == TEXT:
        codes, distinct = _without_blank(codes, distinct)
    names = class_names(table, column) if kind == NUMBERS else None
    return LabelColumn(table, column, kind if distinct else "", tuple(distinct), codes, names, tuple(notes))


def same_labels(table: Table, one: str, other: str) -> bool:
    """Whether two columns say the same in every row: equal values, or numbers and texts that go together one to one."""
    try:
        first, second = read_labels(table, one), read_labels(table, other)
    except DataError:
        return False  # a column whose values are no labels
    pairs = set(zip(first.codes.tolist(), second.codes.tolist(), strict=True))
    if first.kind == second.kind:
        return all((code < 0) == (twin < 0) and (code < 0 or first.values[code] == second.values[twin]) for code, twin in pairs)
    return len(pairs) == len({code for code, _ in pairs}) == len({twin for _, twin in pairs})


def class_names(table: Table, column: str) -> tuple[str, ...] | None:
    """Names of the classes 0, 1, ... of an integer column as the hub's metadata state them, or None.

    They are a list, or a mapping of numbers to names as in the cards of data sets, there also within `dtype: class_label`. A name that
    several classes have, as two of ImageNet are called crane, gets the number of each behind it.
    """
    described = table.features.get(column)
    for key in ("dtype", "class_label"):
        if isinstance(described, dict) and isinstance(described.get(key), dict):
            described = described[key]
    names = described.get("names") if isinstance(described, dict) else None
    if isinstance(names, dict) and set(names) == {str(number) for number in range(len(names))}:
        names = [names[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) and not isinstance(name, bool) for name in names):
        return None
    texts = [str(name) for name in names]
    count = Counter(texts)
    return tuple(f"{text} ({number})" if count[text] > 1 else text for number, text in enumerate(texts))


def _without_blank(codes: NDArray[np.int64], values: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """An empty text is no label."""
    distinct = [value for value in values if value.strip()]
    position = {value: index for index, value in enumerate(distinct)}
    places = np.array([*(position.get(value, -1) for value in values), -1], dtype=np.int64)  # the last one for code -1
    return places[codes], distinct


def _plain(column: pa.ChunkedArray, table: Table, name: str) -> tuple[str, pa.ChunkedArray, list[str]]:
    """Kind of a column, its values as int64 or large_string with nulls, and notes."""
    kind = column.type
    where = f"{table.where}: labels in column {name!r}"
    if pa.types.is_dictionary(kind):
        chunks = [_decoded(chunk, table, name) for chunk in column.chunks]
        told = list(dict.fromkeys(note for _, _, notes in chunks for note in notes))
        of = next((found for found, _, _ in chunks if found), TEXT)
        return of, pa.chunked_array([values for _, values, _ in chunks], pa.int64() if of == NUMBERS else pa.large_string()), told
    if pa.types.is_null(kind):
        return TEXT, column.cast(pa.large_string()), []
    if pa.types.is_integer(kind):
        return NUMBERS, _integers(column, where), []
    if pa.types.is_boolean(kind):
        return TRUTH, pc.if_else(column, pa.scalar("True", pa.large_string()), pa.scalar("False", pa.large_string())), []
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return NUMBERS, _integral(column, where), [f"labels: column {name} holds {kind} values, all of them integers, read as such"]
    if is_text(kind):
        return TEXT, _text(column.cast(pa.large_string()), where), []
    if is_binary(kind):
        return TEXT, _text(column, where), [f"labels: column {name} holds bytes, read as UTF-8 text"]
    if is_list(kind):
        raise DataError(f"{where} are lists ({kind}): every image needs one label; set ingest.label_column to a column of single labels")
    raise DataError(f"{where} are {kind}: use integers or strings, or set ingest.label_column to another column")


def _text(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Texts or bytes as large_string; the reader of Parquet does not look whether they are UTF-8."""
    try:
        return column.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid as error:
        problem = f"{where} are not all text in UTF-8"
        raise DataError(f"{problem}: write them as UTF-8, or set ingest.label_column to another column") from error


def _decoded(chunk: pa.DictionaryArray, table: Table, name: str) -> tuple[str, pa.Array, list[str]]:
    """A dictionary's values in place of their numbers. By hand: pyarrow cannot decode dictionaries of views."""
    kind, values, notes = _plain(pa.chunked_array([chunk.dictionary]), table, name)
    return kind, values.combine_chunks().take(chunk.indices), notes


def _integers(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    if pa.types.is_uint64(column.type):
        beyond = pc.greater(column, pa.scalar(2**63 - 1, pa.uint64()))
        if pc.any(beyond).as_py():
            row = pc.index(beyond, True).as_py()
            raise DataError(
                f"{where}: {column[row].as_py()} in row {row} is beyond the largest integer, 2^63 - 1 (2^64 - 1 is often a -1, "
                "that is, no label): write the labels as int64"
            )
    return column.cast(pa.int64())


def _integral(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Floating-point or decimal numbers as integers; NaN becomes null."""
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        problem = f"{where} are {column.type}, and not all are integers"
        raise DataError(f"{problem}: use integers or strings, or set ingest.label_column to another column") from error
