"""Millions of texts (digests, places, file names) as one column, where a list of them would take twice the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import pyarrow as pa

CHUNK = 65_536
"""Texts that are taken out of the column at once."""


class Texts(Sequence[str]):
    """A column of strings, or of bytes that file names are made of, as a sequence of texts; Arrow takes it as it is."""

    def __init__(self, column: pa.Array) -> None:
        """`column` has no nulls."""
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...
    def __getitem__(self, index: int | slice) -> str | Texts:
        return Texts(self._column[index]) if isinstance(index, slice) else _text(self._column[index].as_py())

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self._column), CHUNK):
            yield from map(_text, self._column[start : start + CHUNK].to_pylist())

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:  # as Arrow calls it
        return self._column if type is None else self._column.cast(type)

    def take(self, rows: Any) -> Texts:
        """The texts of these rows [n]."""
        return Texts(self._column.take(pa.array(rows)))


def chained(parts: Sequence[Sequence[str]]) -> Texts:
    """Several sequences of texts one after another."""
    if len(parts) == 1 and isinstance(parts[0], Texts):
        return parts[0]
    return Texts(pa.concat_arrays([pa.array(part, pa.string()) for part in parts]))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
