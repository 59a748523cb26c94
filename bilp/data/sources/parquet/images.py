"""The image column of a Parquet file as a stream of encoded images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bilp.data.contents import GROUP_IMAGES, Group, cut
from bilp.data.opening import DecodeError
from bilp.data.sources.parquet.columns import is_text
from bilp.data.sources.parquet.tables import Table
from bilp.errors import DataError
from bilp.text.escaping import shown

ROWS_OF_PATHS = 4096
"""Rows that are looked at together for whether there is an image in one."""


def check_embedded(table: Table, column: str) -> None:
    """Raise DataError at once if the column holds paths but no image; reads no further than the first image."""
    if not table.rows or not pa.types.is_struct(table.schema.field(column).type):
        return
    for batch in table.batches(column, ROWS_OF_PATHS):
        data = pc.struct_field(batch, "bytes")
        if data.null_count < len(data):
            return
    raise DataError(
        f"{table.where}: column {column!r} holds no images, only where they were (its field bytes is empty in all {table.rows} rows): "
        "write the table again with the images embedded"
    )


def image_groups(table: Table, column: str, keep: NDArray[np.bool_]) -> Iterator[Group]:
    """The images of the rows in `keep` (bool [rows]), in order."""
    start = 0
    for batch in table.batches(column, GROUP_IMAGES):
        rows = np.flatnonzero(keep[start : start + len(batch)])
        images, paths = _parts(batch, pa.array(rows))
        sizes: list[int] = pc.fill_null(pc.binary_length(images), 0).to_pylist()
        for first, stop in cut(sizes):
            readers: list[Callable[[], bytes]] = [_reader(images, paths, index) for index in range(first, stop)]
            yield Group([f"{shown(table.name)}#{start + row}" for row in rows[first:stop].tolist()], readers, sizes[first:stop])
        start += len(batch)


def _parts(column: pa.Array, rows: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """Of some rows the images as large_binary, and the paths that stand beside them, if any."""
    paths = None
    if pa.types.is_struct(column.type):
        place = column.type.get_field_index("path")
        if place >= 0 and is_text(column.type.field(place).type):
            paths = pc.struct_field(column, "path").cast(pa.large_string()).take(rows)
        column = pc.struct_field(column, "bytes")
    if pa.types.is_dictionary(column.type):
        return column.dictionary.cast(pa.large_binary()).take(column.indices).take(rows), paths
    return column.cast(pa.large_binary()).take(rows), paths  # cast first: pyarrow takes no rows of views


def _reader(images: pa.Array, paths: pa.Array | None, index: int) -> Callable[[], bytes]:
    def read() -> bytes:
        data: bytes | None = images[index].as_py()
        if data is None:
            path = None if paths is None else paths[index].as_py()
            raise DecodeError("the row holds no bytes" if path is None else f"the row holds no bytes, only the path {shown(path)}")
        return data

    return read
