"""Tables that are made, written and compared piece by piece: two hundred epochs of ImageNet-1K are 256 million rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilp.artifacts.parquet import ROW_GROUP, encode_parts


@dataclass(frozen=True)
class RowGroups:
    """A table of `count` rows, of which `make` gives those from one number up to another."""

    count: int
    make: Callable[[int, int], pa.Table]

    def parts(self) -> Iterator[pa.Table]:
        """One row group of a file after the other; an empty table is one part."""
        for start in range(0, max(1, self.count), ROW_GROUP):
            yield self.make(start, min(start + ROW_GROUP, self.count))

    def write(self, path: Path, schema: pa.Schema, origin: Mapping[str, Any]) -> None:
        """The file that `bilp.artifacts.parquet.encode` gives of the whole table, byte for byte; one part is in memory at a time."""
        with path.open("wb") as sink:
            encode_parts(self.parts(), schema, origin, sink)
