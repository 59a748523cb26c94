"""The image column of a Parquet file as a stream of encoded images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bilp.data.contents import GROUP_IMAGES, Group, Labels, cut
from bilp.data.items import Items
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


def table_items(table: Table, labels: Labels) -> Items:
    """The rows of a file as items; `labels` is the class of each of its rows, [rows], -1 for those that are left out."""
    starts = np.cumsum((0, *table.group_rows[:-1]))[: len(table.group_rows)]
    kept, count = np.flatnonzero(labels >= 0), len(labels)
    whole = replace(
        Items.of_rows(labels, table.name),
        row_group=np.repeat(np.arange(len(table.group_rows), dtype=np.int32), table.group_rows),
        row=np.arange(count, dtype=np.int64) - np.repeat(starts, table.group_rows),
    )
    return whole.take(kept)


def image_groups(table: Table, column: str, items: Items) -> Iterator[Group]:
    """The images of these items, which are rows of this file in their order."""
    ends = np.flatnonzero(np.diff(items.row_group, append=-1)) + 1
    wanted = (
        {int(items.row_group[end - 1]): rows for end, rows in zip(ends, np.split(items.row, ends[:-1]), strict=True)} if len(items) else {}
    )
    before = np.cumsum((0, *table.group_rows))
    for group, start, batch in table.heads(column, GROUP_IMAGES, [(number, int(rows[-1]) + 1) for number, rows in wanted.items()]):
        first, stop = np.searchsorted(wanted[group], (start, start + len(batch)))
        rows = wanted[group][first:stop] - start
        images, paths = _parts(batch, pa.array(rows))
        sizes: list[int] = pc.fill_null(pc.binary_length(images), 0).to_pylist()
        names = [f"{shown(table.name)}#{row}" for row in (before[group] + start + rows).tolist()]
        for one, other in cut(sizes):
            readers: list[Callable[[], bytes]] = [_reader(images, paths, index) for index in range(one, other)]
            yield Group(names[one:other], readers, sizes[one:other])


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
