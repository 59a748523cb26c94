"""The pictures or clips of a split as columns: where each lies in its source and which class it has, before any of them is read.

Whoever lists a source writes these columns down, and whoever reads a piece of it, perhaps in another process on another
machine, needs no more than a slice of them and the settings of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.text.escaping import shown

UNKNOWN = -1
"""Length of what is a whole file of unknown size; row and row group of what lies in no table."""


@dataclass(frozen=True, eq=False)
class Items:
    """The items of one split in the source's order; all columns have n entries.

    `labels` are positions in the names of the classes. `files` are keys or paths relative to the source, and `file` the position of
    each item's in them. An item is `length` bytes from byte `offset` on (0 and the file's size, or UNKNOWN, for a whole file), or
    the row `row` of the row group `row_group` of a Parquet file, or the row `row` of an array. `stems` are names by which the same
    item is known in every copy of its class (n01440764_10026); without them the order of the source is the only one. `origins` are
    what people are told of where an item lies; without them that is its file.

    Raises ValueError if the columns differ in length.
    """

    labels: NDArray[np.int64]
    files: Sequence[str]
    file: NDArray[np.int32]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    row_group: NDArray[np.int32]
    row: NDArray[np.int64]
    stems: pa.StringArray | None = None
    origins: pa.StringArray | None = None

    def __post_init__(self) -> None:
        """Compares lengths."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "files"}
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of items differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_files(cls, labels: NDArray[np.int64], files: Sequence[str], lengths: Sequence[int] | NDArray[np.int64] | None = None) -> Items:
        """One file for each item, [n]; `lengths` are the sizes of the files in bytes, if they are known."""
        count = len(labels)
        return cls(
            labels=labels,
            files=tuple(files),
            file=np.arange(count, dtype=np.int32),
            offset=np.zeros(count, dtype=np.int64),
            length=_unknown(count) if lengths is None else np.asarray(lengths, dtype=np.int64),
            row_group=_unknown(count).astype(np.int32),
            row=_unknown(count),
        )

    @classmethod
    def of_rows(cls, labels: NDArray[np.int64], name: str) -> Items:
        """The rows of one array, [n], that the source knows as `name`."""
        count = len(labels)
        return cls(
            labels=labels,
            files=(name,),
            file=np.zeros(count, dtype=np.int32),
            offset=np.zeros(count, dtype=np.int64),
            length=_unknown(count),
            row_group=_unknown(count).astype(np.int32),
            row=np.arange(count, dtype=np.int64),
        )

    def slice(self, start: int, stop: int) -> Items:
        """Items `start` to `stop`, without a copy; `files` are those of all."""
        return self._each(lambda column: column[start:stop])

    def take(self, places: NDArray[np.int64]) -> Items:
        """The items at these places [m], in their order; `files` are those of all."""
        return self._each(lambda column: column.take(places))

    def unplaced(self) -> Items:
        """Labels and names alone, without a copy: where the items lie is not known any more."""
        long: NDArray[np.int64] = np.broadcast_to(np.int64(UNKNOWN), len(self))
        short: NDArray[np.int32] = np.broadcast_to(np.int32(UNKNOWN), len(self))
        return Items(self.labels, (), short, long, long, short, long, self.stems)

    def _each(self, chosen: Callable[[Any], Any]) -> Items:
        """The same files with what is chosen of every column."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "files"}
        columns = {name: None if column is None else chosen(column) for name, column in columns.items()}
        return replace(self, **columns)

    def paths(self) -> list[str]:
        """The file of each item."""
        return [self.files[place] for place in self.file.tolist()]

    def told(self) -> list[str]:
        """What people are told of where each item lies."""
        return [shown(path) for path in self.paths()] if self.origins is None else self.origins.to_pylist()

    def by_file(self) -> Iterator[tuple[str, Items]]:
        """Runs of items that lie in one file, with its name."""
        ends = [*(np.flatnonzero(np.diff(self.file)) + 1).tolist(), len(self)] if len(self) else []
        for start, end in zip([0, *ends], ends, strict=False):
            yield self.files[self.file[start]], self.slice(start, end)

    def rows(self, most: int) -> Iterator[tuple[int, int]]:
        """Of consecutive rows of one array: the first row, and the row behind the last one, of pieces of at most so many rows."""
        first, stop = (int(self.row[0]), int(self.row[-1]) + 1) if len(self) else (0, 0)
        for start in range(first, stop, most):
            yield start, min(stop, start + most)


def _unknown(count: int) -> NDArray[np.int64]:
    return np.full(count, UNKNOWN, dtype=np.int64)


def joined(parts: Sequence[Items]) -> Items:
    """The items of several listings one after another; all of them or none have stems, and likewise origins."""
    before = np.cumsum([0, *(len(part.files) for part in parts)])
    numbers = ("labels", "offset", "length", "row_group", "row")
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in numbers}
    columns |= {name: _texts([getattr(part, name) for part in parts]) for name in ("stems", "origins")}
    return Items(
        files=tuple(name for part in parts for name in part.files),
        file=np.concatenate([part.file + np.int32(first) for part, first in zip(parts, before, strict=False)]),
        **columns,
    )


def _texts(columns: Sequence[pa.StringArray | None]) -> pa.StringArray | None:
    held = [column for column in columns if column is not None]
    return pa.concat_arrays(held) if held and len(held) == len(columns) else None
