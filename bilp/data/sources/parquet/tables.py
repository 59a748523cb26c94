"""Opening Parquet files: schema, rows, what the hub's metadata say; and what is wrong with a file that cannot be read."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

MAGIC = b"PAR1"
BATCH_BYTES = 2**25
"""Rows that are read at once have about so many bytes, unless a single one has more."""
MOST_INFLATION = 100
"""Images are compressed already; a file that becomes so many times larger, and more than INFLATED_BYTES, is no file of images."""
INFLATED_BYTES = 2**28


@dataclass(frozen=True)
class Table:
    """A Parquet file: its name relative to the source, where it lies, its columns, its number of rows.

    `features` are the columns as the `huggingface` metadata describe them, empty without such metadata. `group_rows` are the rows of
    each row group.
    """

    name: str
    uri: str
    schema: pa.Schema
    rows: int
    features: Mapping[str, Any]
    group_rows: tuple[int, ...] = ()

    @property
    def where(self) -> str:
        """The file's address for a message."""
        return shown(self.uri)

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column. Raises DataError if the file is damaged."""
        with reading(self.uri):
            return _opened(self.uri).read(columns=[name]).column(0)

    def batches(self, name: str, most: int) -> Iterator[pa.Array]:
        """A column in pieces of at most `most` rows, fewer where rows are large. Raises DataError if the file is damaged."""
        for _, _, values in self.heads(name, most, enumerate(self.group_rows)):
            yield values

    def heads(self, name: str, most: int, wanted: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, pa.Array]]:
        """A column of some row groups in such pieces, each with the number of its row group and of its first row there.

        Each row group comes with how many of its rows are wanted, from its first on; the last piece may have some more. Raises
        DataError if the file is damaged.
        """
        with reading(self.uri):
            file = _opened(self.uri)
            for number, needed in wanted:
                group, first = file.metadata.row_group(number), 0
                rows = max(1, min(most, BATCH_BYTES * group.num_rows // max(1, group.total_byte_size)))
                for batch in file.iter_batches(batch_size=rows, row_groups=[number], columns=[name]):
                    if first >= needed:
                        break
                    yield number, first, batch.column(0)
                    first += len(batch)

    def described(self) -> str:
        """Names and types of all columns, for a message."""
        return ", ".join(f"{field.name}: {field.type}" for field in self.schema) or "no columns"


def open_table(name: str, uri: str) -> Table:
    """Read the footer of a Parquet file. Raises DataError if it is none, and MissingArtifact if nothing lies there.

    Nothing is asked of the footer about single columns: where it is damaged, the library ends the process.
    """
    with reading(uri):
        file = _opened(uri)
        schema = file.schema_arrow
        [field.name for field in schema]  # for the error of names that are no text
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        rows, inflated = file.metadata.num_rows, sum(group.total_byte_size for group in groups)
        group_rows = tuple(group.num_rows for group in groups)
        size = objects.localize(uri).stat().st_size
    if rows > size:
        raise DataError(f"{shown(uri)}: claims {rows:,} rows in a file of {size:,} bytes, which cannot hold as many images: fetch it again")
    if inflated > max(INFLATED_BYTES, MOST_INFLATION * size):
        raise DataError(
            f"{shown(uri)}: claims {inflated:,} bytes in a file of {size:,}, and images can hardly be compressed: write it again without "
            "compression"
        )
    if sum(group_rows) != rows:
        raise DataError(f"{shown(uri)}: claims {rows:,} rows, and {sum(group_rows):,} in its row groups: fetch it again")
    return Table(name, uri, schema, rows, _features(schema.metadata or {}, uri), group_rows)


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Put what the reader raises about a damaged file into words."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown(uri)}: {_damage(uri, error)}") from error


def _opened(uri: str) -> pq.ParquetFile:
    path = objects.localize(uri)
    try:
        str(path).encode()
    except UnicodeEncodeError:  # pyarrow takes no name that is no UTF-8
        with path.open("rb") as stream:
            return pq.ParquetFile(pa.BufferReader(pa.py_buffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))))
    return pq.ParquetFile(path, memory_map=True)


def _features(metadata: Mapping[bytes, bytes], uri: str) -> Mapping[str, Any]:
    """The columns' descriptions; whatever else is written there is no error, because the columns themselves are what counts.

    Raises DataError if it cannot be known what is written there.
    """
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except RecursionError as error:
        raise DataError(f"{shown(uri)}: its huggingface metadata are nested too deep to be read: write the table again") from error
    except (ValueError, KeyError, TypeError):
        return {}
    if isinstance(features, list):  # as in the cards of data sets
        return {feature["name"]: feature for feature in features if isinstance(feature, dict) and isinstance(feature.get("name"), str)}
    return features if isinstance(features, dict) else {}


def _damage(uri: str, error: Exception) -> str:
    path = objects.localize(uri)
    try:
        size, first, last = _ends(path)
    except OSError:
        return f"is not readable: {error}"
    if first.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself: run `git lfs pull` in the clone, or download the file"
    if size == 0:
        return "is empty (0 bytes): fetch it again"
    if first.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page, not a Parquet file: the download needs another address, or a log-in: fetch it again"
    if first[:4] == MAGIC and last != MAGIC:
        return f"is cut off after {size} bytes, not a readable Parquet file: fetch it again"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"is not a readable Parquet file: {reason.rstrip('.')}: fetch it again"


def _ends(path: Path) -> tuple[int, bytes, bytes]:
    """Size of a file, its first bytes, and its last four."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        first = stream.read(64)
        stream.seek(max(0, size - 4))
        return size, first, stream.read(4)
