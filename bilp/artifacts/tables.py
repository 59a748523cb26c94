"""Tables with declared schemas, as Parquet: the same table and origin give the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bilp.artifacts.table_rules import Rules, check_rows, texts
from bilp.config.criteria import SUMMARIZED
from bilp.errors import DamagedArtifact, IncompatibleArtifact
from bilp.text.escaping import unwrapped

TRAJECTORY = pa.schema(
    {
        "sample_id": pa.int64(),
        "label": pa.int32(),
        "trial": pa.int16(),
        "epoch": pa.int16(),
        "loss": pa.float32(),
        "correct": pa.bool_(),
        "el2n": pa.float32(),
        "margin": pa.float32(),
        "gradient_norm": pa.float32(),
    }
)
"""Static scoring: every sample after every epoch of a trial. gradient_norm is NaN where it was not asked for."""

SUMMARY = pa.schema(
    {
        "sample_id": pa.int64(),
        "label": pa.int32(),
        **{name: pa.float32() for criterion, column in SUMMARIZED.items() for name in (criterion, f"{criterion}_std")[: 1 + column.spread]},
    }
)
"""Static scoring: mean and standard deviation (loss_init, loss_init_std, ...) of each criterion in SUMMARIZED over the trials.

Criteria of gradient norms are NaN unless these were recorded."""

MEASURED = pa.schema({"sample_id": pa.int64(), "label": pa.int32(), "trial": pa.int16(), "score": pa.float32()})
"""Static scoring by other measures than trajectories: what one trial says about the samples that take part in it."""

MEASURED_SUMMARY = pa.schema(
    {"sample_id": pa.int64(), "label": pa.int32(), "score": pa.float32(), "score_std": pa.float32(), "visits": pa.int32()}
)
"""Static scoring by other measures: mean and standard deviation over the trials that a sample took part in, and their number."""

SELECTION = pa.schema(
    {"sample_id": pa.int64(), "label": pa.int32(), "score": pa.float64(), "rank_in_class": pa.int32(), "kept": pa.bool_()}
)
"""Static pruning: which samples were kept, and why."""

ITE = pa.schema(
    {
        "sample_id": pa.int64(),
        "label": pa.int32(),
        "round": pa.int32(),
        "ite": pa.float32(),
        "ite_std": pa.float32(),
        "visits": pa.int32(),
        "dropped": pa.bool_(),
    }
)
"""Adaptive pruning: the causal effect of each candidate at the boundary of a round."""

LOSSES = pa.schema({"iteration": pa.int32(), "loss": pa.float32(), "real_used": pa.int32(), "dropped_share": pa.float32()})
"""Distillation: one row per iteration."""

EXPERTS = pa.schema({"expert": pa.int32(), "epoch": pa.int32(), "loss": pa.float32()})
"""Experts: mean training loss of each expert in each epoch."""

EVALUATION = pa.schema(
    {
        "arm": pa.string(),
        "experiment": pa.int32(),
        "network": pa.string(),
        "seed": pa.int32(),
        "accuracy": pa.float32(),
        "best_accuracy": pa.float32(),
        "train_images": pa.int64(),
        "epochs": pa.int32(),
    }
)
"""Evaluation: one row per trained network; accuracies are fractions."""

ROBUSTNESS = pa.schema(
    {
        "arm": pa.string(),
        "network": pa.string(),
        **{
            name: pa.float64()
            for name in (
                "lrs",
                "ars",
                "real_hard",
                "synthetic_hard",
                "synthetic_given",
                "random_given",
                "synthetic_augmented",
                "random_augmented",
                "synthetic_plain",
                "random_plain",
            )
        },
    }
)
"""Evaluation: the scores of DD-Ranking per arm and network, and the mean accuracies (fractions) that they are made of."""

REPRODUCTION = pa.schema(
    {
        "arm": pa.string(),
        "network": pa.string(),
        "accuracy": pa.float64(),
        "half_width95": pa.float64(),
        "n": pa.int32(),
        "published": pa.float64(),
        "spread": pa.float64(),
        "difference": pa.float64(),
    }
)
"""Reproduction of a published cell: ours against the published value, all in per cent; NaN where nothing was published."""

_COUNT, _LENGTH, _SHARE, _NUMBER = (0, 2**53), (0.0, math.inf), (0.0, 1.0), (0, 2**31)
_SAMPLE = {"sample_id": _COUNT, "label": _NUMBER}

_GRADIENTS = {name for name, column in SUMMARIZED.items() if column.gradients}

RULES: dict[pa.Schema, Rules] = {
    TRAJECTORY: Rules(
        ranges={**_SAMPLE, "trial": _NUMBER, "epoch": _NUMBER, "loss": _LENGTH, "el2n": _LENGTH, "gradient_norm": _LENGTH},
        undefined=frozenset({"gradient_norm"}),
        ascending=("epoch", "sample_id"),
        always=("sample_id", "epoch"),
    ),
    SUMMARY: Rules(
        ranges={
            **_SAMPLE,
            **{f"{name}_std": _LENGTH for name, column in SUMMARIZED.items() if column.spread},
            **{name: (column.lowest, column.highest) for name, column in SUMMARIZED.items()},
        },
        undefined=frozenset(name for name in SUMMARY.names if name.removesuffix("_std") in _GRADIENTS),
        places="sample_id",
        always=("sample_id",),
    ),
    MEASURED: Rules(ranges={**_SAMPLE, "trial": _NUMBER}, ascending=("sample_id",), always=("sample_id",)),
    MEASURED_SUMMARY: Rules(
        ranges={**_SAMPLE, "score_std": _LENGTH, "visits": _NUMBER},
        undefined=frozenset({"score"}),
        places="sample_id",
        always=("sample_id",),
    ),
    SELECTION: Rules(ranges={**_SAMPLE, "rank_in_class": _NUMBER}, places="sample_id", always=("sample_id",)),
    ITE: Rules(ranges={**_SAMPLE, "round": (1, 2**31), "ite": _LENGTH, "ite_std": _LENGTH, "visits": _NUMBER}, ascending=("sample_id",)),
    LOSSES: Rules(ranges={"iteration": _NUMBER, "real_used": _NUMBER, "dropped_share": _SHARE}, ascending=("iteration",)),
    EXPERTS: Rules(ranges={"expert": _NUMBER, "epoch": _NUMBER}, ascending=("expert", "epoch")),
    EVALUATION: Rules(
        ranges={
            **dict.fromkeys(("experiment", "seed", "epochs"), _NUMBER),
            **dict.fromkeys(("accuracy", "best_accuracy"), _SHARE),
            "train_images": (1, 2**53),
        },
        once=("arm", "experiment", "network", "seed"),
        most=100_000,
    ),
    ROBUSTNESS: Rules(ranges=dict.fromkeys(ROBUSTNESS.names[2:], _SHARE), once=("arm", "network"), most=100_000),
    REPRODUCTION: Rules(
        ranges={**dict.fromkeys(("accuracy", "published", "spread"), (0.0, 100.0)), "half_width95": _LENGTH, "n": (1, 2**31)},
        undefined=frozenset({"published", "spread", "difference"}),
        infinite=frozenset({"half_width95"}),
        once=("arm", "network"),
        most=100_000,
    ),
}
"""What holds for the rows of each table. (A hash of a schema counts its columns and their types.)"""


def declare(schema: pa.Schema, rules: Rules) -> pa.Schema:
    """`schema` itself, for tables of other rooms, which have their rules from here on."""
    RULES[schema] = rules
    return schema


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
    missing, unknown, incomplete (holds nulls) or does not fit its type.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.names]
    repeated = len(set(table.column_names)) < len(table.column_names)
    if missing or unknown or repeated:
        raise IncompatibleArtifact(f"the table has columns {table.column_names}, expected {schema.names}")
    incomplete = [name for name in schema.names if table[name].null_count]
    if incomplete:
        raise IncompatibleArtifact(f"the table holds nulls in {incomplete}: every value must be known (use NaN for an undefined float)")
    try:
        fitting = table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise IncompatibleArtifact(f"the table does not fit its schema: {error}") from error
    note = json.dumps(dict(origin), sort_keys=True, allow_nan=False)
    sink = pa.BufferOutputStream()
    pq.write_table(
        fitting.replace_schema_metadata({ORIGIN: note.encode()}),
        sink,
        compression="zstd",
        row_group_size=ROW_GROUP,
        use_dictionary=_few_values(schema),
        version="2.6",
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


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
    table = decode(data, schema, [*dict.fromkeys([*wanted, *rules.always])], rows, rules.most_rows(below))
    check_rows(table, rules, below)
    return table.select(wanted)


def decode(
    data: bytes | Path, schema: pa.Schema, columns: Sequence[str] | None = None, rows: int | None = None, most: int | None = None
) -> pa.Table:
    """The table in `data`, or only some of its columns; a path is memory-mapped.

    Raises IncompatibleArtifact with the difference if the file has another schema, and DamagedArtifact if it is no Parquet, has
    not so many `rows`, or more than `most` or than a file of its size can have.
    """
    with _open(data) as file:
        differences = _differences(schema, file.schema_arrow)
        if differences:
            raise IncompatibleArtifact(f"the table has another schema than expected ({'; '.join(differences)})")
        wanted = schema.names if columns is None else list(columns)
        unknown = [name for name in wanted if name not in schema.names]
        if unknown:
            raise IncompatibleArtifact(f"no columns {unknown} in a table of {schema.names}")
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        stated = _require_rows(file, rows, ROWS_AT_LEAST + ROWS_PER_BYTE * size if most is None else most)
        worded = [name for name in wanted if pa.types.is_string(schema.field(name).type)]
        with _open(data, worded) if worded else nullcontext(file) as source:
            try:
                table = source.read(columns=wanted)
            except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
                raise DamagedArtifact(f"the table cannot be decoded: {unwrapped(error)}; compute it again") from error
    if len(table) != stated:
        raise DamagedArtifact(f"the table has {len(table):,} rows and states {stated:,}: compute it again")
    for name in worded:
        table = table.set_column(table.column_names.index(name), name, texts(table[name], name))
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


def _differences(expected: pa.Schema, found: pa.Schema) -> list[str]:
    lines = [f"{field.name}: expected {field.type}, found nothing" for field in expected if field.name not in found.names]
    for field in found:
        if field.name not in expected.names:
            lines.append(f"{field.name}: not expected, found {field.type}")
        elif expected.field(field.name).type != field.type:
            lines.append(f"{field.name}: expected {expected.field(field.name).type}, found {field.type}")
    if not lines and expected.names != found.names:
        lines.append(f"order: expected {expected.names}, found {found.names}")
    return lines


def _few_values(schema: pa.Schema) -> list[str]:
    """Columns that repeat few values; a dictionary of all others would only cost time."""
    return [field.name for field in schema if pa.types.is_string(field.type) or field.name in ("label", "trial", "epoch", "round")]
