"""Items of a split as they are found, one after the other, before it is known which classes are taken."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.data.items import UNKNOWN, Items
from bilp.text.escaping import shown


class Gathered:
    """What has been found of a split, in the source's order: compact, since there may be a million items."""

    def __init__(self) -> None:
        self._classes: dict[str, int] = {}
        self._files: dict[str, int] = {}
        self._codes = array("i")
        self._places = array("i")
        self._numbers = tuple(array("q") for _ in range(3))
        self._groups = array("i")
        self._stems: list[str] = []
        self._origins: list[str] = []

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def classes(self) -> set[str]:
        """The classes of the items that were added."""
        return set(self._classes)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the items lie in."""
        return tuple(self._files)

    def counts(self) -> dict[str, int]:
        """The number of items of each class."""
        found = np.bincount(np.array(self._codes, dtype=np.int32), minlength=len(self._classes))
        return dict(zip(self._classes, found.tolist(), strict=True))

    def add(self, class_id: str, file: str, *, stem: str, span: tuple[int, int] = (0, UNKNOWN), origin: str = "") -> None:
        """An item: a whole file of so many bytes, or a span of one (its offset and length).

        Args:
            class_id: Of its class.
            file: The file's path below the source.
            stem: Its canonical name within its class, or '' if it has none.
            span: Offset and length in bytes.
            origin: What people are told of where it lies; the file without it.
        """
        self._add(class_id, file, stem, origin, (*span, UNKNOWN), UNKNOWN)

    def add_row(self, class_id: str, file: str, *, stem: str, row: int, row_group: int = UNKNOWN) -> None:
        """An item that is a row of an array, or of a row group of a Parquet file.

        Args:
            class_id: Of its class.
            file: The file's path below the source.
            stem: Its canonical name within its class, or '' if it has none.
            row: Its number in the array or the row group.
            row_group: The number of the row group, or UNKNOWN.
        """
        self._add(
            class_id, file, stem, f"{file}#{row}" if row_group == UNKNOWN else f"{file}#{row_group}.{row}", (0, UNKNOWN, row), row_group
        )

    def _add(self, class_id: str, file: str, stem: str, origin: str, numbers: tuple[int, int, int], row_group: int) -> None:
        self._codes.append(self._classes.setdefault(class_id, len(self._classes)))
        self._places.append(self._files.setdefault(file, len(self._files)))
        offsets, lengths, rows = self._numbers
        offsets.append(numbers[0])
        lengths.append(numbers[1])
        rows.append(numbers[2])
        self._groups.append(row_group)
        self._stems.append(stem)
        self._origins.append(origin or file)

    def items(self, order: Sequence[str]) -> Items:
        """The items of these classes, their labels being positions in `order`; all others are left out.

        They have stems if every item has one, and none is in a class twice.
        """
        position = {class_id: label for label, class_id in enumerate(order)}
        of_code = np.array([position.get(class_id, -1) for class_id in self._classes], dtype=np.int64)
        labels = of_code[np.array(self._codes, dtype=np.int32)]
        kept: NDArray[np.int64] = np.flatnonzero(labels >= 0)
        offset, length, row = (np.frombuffer(column, np.int64)[kept] if column else np.zeros(0, np.int64) for column in self._numbers)
        place, groups = (
            np.frombuffer(column, np.int32)[kept] if column else np.zeros(0, np.int32) for column in (self._places, self._groups)
        )
        names = [self._stems[index] for index in kept.tolist()]
        named = all(names) and len(set(zip(labels[kept].tolist(), names, strict=True))) == len(names)
        return Items(
            labels=labels[kept],
            files=tuple(self._files),
            file=place,
            offset=offset,
            length=length,
            row_group=groups,
            row=row,
            stems=pa.array(names, pa.string()) if named else None,
            origins=pa.array([shown(self._origins[index]) for index in kept.tolist()], pa.string()),
        )
