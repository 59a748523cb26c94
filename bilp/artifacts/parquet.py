"""Tables as Parquet files: the same table and origin give the same bytes, and a file is what its schema says or refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bilp.artifacts.table_rules import Rules, check_rows, texts
from bilp.artifacts.tables import RULES
from bilp.errors import DamagedArtifact, IncompatibleArtifact
from bilp.text.escaping import unwrapped

# A table of equal values is as small as any; more rows than this are no table of ours, but memory that somebody wants to have filled.
ROWS_AT_LEAST, ROWS_PER_BYTE = 1_000_000, 4

# Small enough to read one class of a large table without the rest, large enough to compress well.
ROW_GROUP = 262_144

ORIGIN = b"bilp"


def encode(table: pa.Table, schema: pa.Schema, origin: Mapping[str, Any]) -> bytes:
    """The table as zstd Parquet in the columns and types of `schema`, with `origin` as JSON in its metadata.

    The origin says what the table is, such as stage and key, and nothing of who computed it (that is in the manifest), so that
    equal results are equal bytes.
    Values are cast if that loses nothing but floating-point precision. Raises IncompatibleArtifact if a column is
    missing, unknown, incomplete (holds nulls where its rules allow none) or does not fit its type.
    """
    sink = pa.BufferOutputStream()
    encode_parts([table], schema, origin, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def encode_parts(parts: Iterable[pa.Table], schema: pa.Schema, origin: Mapping[str, Any], sink: Any) -> None:
    """`encode` of a table that comes in parts, each but the last of a whole number of row groups, into a file that is open or a stream."""
    note = json.dumps(dict(origin), sort_keys=True, allow_nan=False)
    noted = schema.with_metadata({ORIGIN: note.encode()})
    with pq.ParquetWriter(sink, noted, compression="zstd", use_dictionary=_few_values(schema), version="2.6") as writer:
        for part in parts:
            writer.write_table(_fitting(part, schema).cast(noted), row_group_size=ROW_GROUP)


def _fitting(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the columns and types of the schema; raises as `encode` says."""
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.names]
    repeated = len(set(table.column_names)) < len(table.column_names)
    if missing or unknown or repeated:
        raise IncompatibleArtifact(f"the table has columns {table.column_names}, expected {schema.names}")
    incomplete = [name for name in schema.names if table[name].null_count and name not in RULES.get(schema, Rules()).nullable]
    if incomplete:
        raise IncompatibleArtifact(f"the table holds nulls in {incomplete}: every value must be known (use NaN for an undefined float)")
    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise IncompatibleArtifact(f"the table does not fit its schema: {error}") from error


def read(
    data: bytes | Path, schema: pa.Schema, columns: Sequence[str] | None = None, rows: int | None = None, below: Mapping[str, int] = {}
) -> pa.Table:
    """As `decode`, and the invariants that RULES has for the schema are checked.

    Args:
        data: Content of a file, or its path.
        schema: What it has to be.
        columns: The columns that are returned, by default all.
        rows: How many rows it has, where that is known; others are refused before anything of them is read.
        below: Whole numbers, by column, that its values stay below, such as the number of classes for labels.

    Raises DamagedArtifact with column, row and value besides.
    """
    rules = RULES.get(schema, Rules())
    wanted = schema.names if columns is None else list(columns)
    names = [*dict.fromkeys([*wanted, *rules.always])]
    table = decode(data, schema, names, rows, rules.most_rows(below), rules.added)
    check_rows(table, rules, below)
    return table.select(wanted)


def decode(
    data: bytes | Path,
    schema: pa.Schema,
    columns: Sequence[str] | None = None,
    rows: int | None = None,
    most: int | None = None,
    added: Mapping[str, float | bool | str] = {},
) -> pa.Table:
    """The table in `data`, or only some of its columns; a path is memory-mapped.

    Args:
        data: Content of a file, or its path.
        schema: What it has to be.
        columns: The columns that are returned, by default all.
        rows: How many rows it has, where that is known.
        most: How many it has at most, by default what a file of its size can have.
        added: Columns that an older file may lack, and the value that they are filled with.

    Raises IncompatibleArtifact with the difference if the file has another schema, and DamagedArtifact if it is no Parquet, has
    not so many `rows`, or more than `most`.
    """
    with _open(data) as file:
        lacking = [name for name in added if name not in file.schema_arrow.names]
        differences = _differences(schema, file.schema_arrow, lacking)
        if differences:
            raise IncompatibleArtifact(f"the table has another schema than expected ({'; '.join(differences)})")
        wanted = schema.names if columns is None else list(columns)
        unknown = [name for name in wanted if name not in schema.names]
        if unknown:
            raise IncompatibleArtifact(f"no columns {unknown} in a table of {schema.names}")
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        stated = _require_rows(file, rows, ROWS_AT_LEAST + ROWS_PER_BYTE * size if most is None else most)
        there = [name for name in wanted if name not in lacking]
        worded = [name for name in there if pa.types.is_string(schema.field(name).type)]
        with _open(data, worded) if worded else nullcontext(file) as source:
            try:
                table = source.read(columns=there)
            except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
                raise DamagedArtifact(f"the table cannot be decoded: {unwrapped(error)}; compute it again") from error
    if len(table) != stated:
        raise DamagedArtifact(f"the table has {len(table):,} rows and states {stated:,}: compute it again")
    for name in worded:
        table = table.set_column(table.column_names.index(name), name, texts(table[name], name))
    for name in set(wanted) & set(lacking):
        table = table.append_column(schema.field(name), pa.repeat(pa.scalar(added[name], schema.field(name).type), stated))
    return table.select(wanted).replace_schema_metadata(None)


def _require_rows(file: pq.ParquetFile, rows: int | None, most: int) -> int:
    """How many rows a file states; DamagedArtifact if these are not so many `rows`, or more than `most` where that is not known."""
    stated: int = file.metadata.num_rows
    if rows is not None and stated != rows:
        raise DamagedArtifact(f"the table has {stated:,} rows instead of {rows:,}: compute it again")
    if rows is None and stated > most:
        raise DamagedArtifact(f"the table states {stated:,} rows, {most:,} are the most here: compute it again")
    return stated


def stored_origin(data: bytes | Path) -> dict[str, Any]:
    """The origin that `encode` was given; empty if the file was not written by it."""
    with _open(data) as file:
        note = (file.schema_arrow.metadata or {}).get(ORIGIN, b"{}")
    stored: dict[str, Any] = json.loads(note)
    return stored


def _open(data: bytes | Path, worded: Sequence[str] = ()) -> pq.ParquetFile:
    """The file; columns of texts that are named come as dictionaries, so that a text that is repeated takes its place once."""
    # Not read_table: it would take a folder called trial=0 for a partition and add a column.
    try:
        source = pa.BufferReader(data) if isinstance(data, bytes) else str(data)
        return pq.ParquetFile(source, memory_map=isinstance(data, Path), read_dictionary=list(worded))
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
        raise DamagedArtifact(f"this is not a Parquet file: {unwrapped(error)}; compute it again") from error


def _differences(expected: pa.Schema, found: pa.Schema, lacking: Sequence[str] = ()) -> list[str]:
    """What differs, apart from expected columns that are allowed to be `lacking`."""
    names = [name for name in expected.names if name not in lacking]
    lines = [f"{name}: expected {expected.field(name).type}, found nothing" for name in names if name not in found.names]
    for field in found:
        if field.name not in expected.names:
            lines.append(f"{field.name}: not expected, found {field.type}")
        elif expected.field(field.name).type != field.type:
            lines.append(f"{field.name}: expected {expected.field(field.name).type}, found {field.type}")
    if not lines and names != found.names:
        lines.append(f"order: expected {names}, found {found.names}")
    return lines


def _few_values(schema: pa.Schema) -> list[str]:
    """Columns that repeat few values; a dictionary of all others would only cost time."""
    return [field.name for field in schema if pa.types.is_string(field.type) or field.name in ("label", "trial", "epoch", "round")]
