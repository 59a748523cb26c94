from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.artifacts import parquet, tables
from bilp.artifacts.table_rules import Rules
from bilp.errors import DamagedArtifact, IncompatibleArtifact

SCHEMAS = {name: getattr(tables, name) for name in ("TRAJECTORY", "SUMMARY", "SELECTION", "ITE", "LOSSES", "EVALUATION")}


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_string(kind):
        return st.text(max_size=6)
    if pa.types.is_floating(kind):
        return st.floats(width=32 if kind == pa.float32() else 64)
    limit = 2 ** (kind.bit_width - 1)
    return st.integers(-limit, limit - 1)


@st.composite
def tables_of(draw: st.DrawFn, schema: pa.Schema) -> pa.Table:
    rows = draw(st.integers(0, 12))
    columns = {field.name: draw(st.lists(values_of(field.type), min_size=rows, max_size=rows)) for field in schema}
    return pa.table(columns, schema=schema)


def equal(one: pa.Table, other: pa.Table) -> bool:
    """Equality in which NaN equals NaN and the division into chunks does not count."""
    if one.schema != other.schema:
        return False
    floating = [pa.types.is_floating(field.type) for field in one.schema]
    pairs = zip(one.to_pandas().items(), other.to_pandas().items(), floating, strict=True)
    return all(np.array_equal(left, right, equal_nan=nan) for (_, left), (_, right), nan in pairs)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_tables_come_back_as_they_were(schema: pa.Schema, data: st.DataObject) -> None:
    table = data.draw(tables_of(schema))
    encoded = parquet.encode(table, schema, {"seed": 1})
    assert equal(parquet.decode(encoded, schema), table)
    assert encoded == parquet.encode(table, schema, {"seed": 1})
    columns = data.draw(st.lists(st.sampled_from(schema.names), min_size=1, unique=True))
    assert equal(parquet.decode(encoded, schema, columns), table.select(columns))


def trajectory(rows: int, classes: int = 10, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    columns = {
        "sample_id": np.arange(rows),
        "label": random.integers(0, classes, rows),
        "trial": np.zeros(rows, np.int16),
        "epoch": np.full(rows, 4),
        "loss": random.exponential(size=rows),
        "correct": random.random(rows) < 0.5,
        **{name: random.random(rows) for name in ("el2n", "margin", "gradient_norm")},
    }
    return pa.table(columns)


def test_columns_are_put_in_order_and_cast(tmp_path: Path) -> None:
    table = trajectory(100)
    shuffled = table.select(table.column_names[::-1])
    path = tmp_path / "trial=0" / "losses.parquet"
    path.parent.mkdir()
    path.write_bytes(parquet.encode(shuffled, tables.TRAJECTORY, {}))
    assert parquet.decode(path, tables.TRAJECTORY).equals(table.cast(tables.TRAJECTORY))


def test_a_pandas_frame_with_its_own_kinds_of_text_fits() -> None:
    frame = pd.DataFrame({"arm": ["bilp", "static"], "network": ["convnet", "mlp"], "accuracy": [0.5, 0.25], "best_accuracy": [0.5, 0.5]})
    frame["arm"] = frame["arm"].astype("category")
    frame[["experiment", "seed", "train_images", "epochs"]] = 1
    frame[["top_k", "top_k_accuracy", "best_top_k_accuracy"]] = 1
    table = parquet.decode(parquet.encode(pa.Table.from_pandas(frame, preserve_index=False), tables.EVALUATION, {}), tables.EVALUATION)
    assert table["arm"].to_pylist() == ["bilp", "static"]
    assert table["network"].to_pylist() == ["convnet", "mlp"]
    assert table["seed"].to_pylist() == [1, 1]


def test_many_rows_lie_in_row_groups_that_can_be_read_alone(tmp_path: Path) -> None:
    table = trajectory(parquet.ROW_GROUP + 1000, classes=1000).cast(tables.TRAJECTORY)
    path = tmp_path / "losses.parquet"
    path.write_bytes(parquet.encode(table, tables.TRAJECTORY, {}))
    with pq.ParquetFile(path) as file:
        assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [parquet.ROW_GROUP, 1000]
        assert file.metadata.row_group(0).column(4).compression == "ZSTD"
    assert parquet.decode(path, tables.TRAJECTORY).equals(table)
    assert path.stat().st_size < 20 * table.num_rows


def test_the_division_of_the_input_into_chunks_does_not_reach_the_bytes() -> None:
    whole = trajectory(1000)
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 600), whole.slice(601)])
    assert pieces["loss"].num_chunks == 3
    assert parquet.encode(pieces, tables.TRAJECTORY, {}) == parquet.encode(whole, tables.TRAJECTORY, {})


def test_metadata_of_other_software_does_not_reach_the_bytes() -> None:
    table = trajectory(5)
    marked = table.replace_schema_metadata({"pandas": "an index"})
    assert parquet.encode(marked, tables.TRAJECTORY, {}) == parquet.encode(table, tables.TRAJECTORY, {})


def test_the_origin_travels_in_the_file(tmp_path: Path) -> None:
    origin = {"stage": "score", "of": {"seed": 3, "rates": [0.1, 0.2]}, "selection": None}
    data = parquet.encode(trajectory(3), tables.TRAJECTORY, origin)
    assert parquet.stored_origin(data) == origin
    (tmp_path / "a.parquet").write_bytes(data)
    assert parquet.stored_origin(tmp_path / "a.parquet") == origin
    reordered = dict(reversed(origin.items()))
    assert parquet.encode(trajectory(3), tables.TRAJECTORY, reordered) == data


def test_a_file_of_other_software_has_no_origin(tmp_path: Path) -> None:
    pq.write_table(trajectory(3), tmp_path / "a.parquet")
    assert parquet.stored_origin(tmp_path / "a.parquet") == {}


def test_another_schema_is_refused_with_every_difference(tmp_path: Path) -> None:
    table = trajectory(3).drop_columns(["correct"]).append_column("extra", pa.array([1.0] * 3))
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(IncompatibleArtifact) as caught:
        parquet.decode(tmp_path / "a.parquet", tables.TRAJECTORY)
    for difference in (
        "correct: expected bool, found nothing",
        "extra: not expected, found double",
        "loss: expected float, found double",
        "label: expected int32, found int64",
    ):
        assert difference in str(caught.value)
    assert "sample_id" not in str(caught.value)


def test_another_order_of_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(trajectory(3).cast(tables.TRAJECTORY).select(tables.TRAJECTORY.names[::-1]), tmp_path / "a.parquet")
    with pytest.raises(IncompatibleArtifact, match="order: expected"):
        parquet.decode(tmp_path / "a.parquet", tables.TRAJECTORY)


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(IncompatibleArtifact, match=r"no columns \['weight'\]"):
        parquet.decode(parquet.encode(trajectory(3), tables.TRAJECTORY, {}), tables.TRAJECTORY, ["loss", "weight"])


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("label", [0, 1, 2**31], "does not fit its schema.*2147483648"),
        ("label", [0.5, 1.0, 2.0], "does not fit its schema"),
        ("loss", [0.5, None, 2.0], r"nulls in \['loss'\]"),
        ("loss", [[0.5], [1.0], [2.0]], "does not fit its schema"),
        ("loss", ["0.5", "low", "2"], "does not fit its schema"),
    ],
)
def test_values_that_do_not_fit_are_refused(column: str, values: list[Any], reason: str) -> None:
    table = trajectory(3)
    unfit = table.set_column(table.column_names.index(column), column, pa.array(values))
    with pytest.raises(IncompatibleArtifact, match=reason):
        parquet.encode(unfit, tables.TRAJECTORY, {})


def test_missing_and_unknown_columns_are_refused() -> None:
    table = trajectory(3)
    for unfit in (table.drop_columns(["loss"]), table.append_column("more", table["loss"]), table.append_column("loss", table["loss"])):
        with pytest.raises(IncompatibleArtifact, match="the table has columns"):
            parquet.encode(unfit, tables.TRAJECTORY, {})


def test_what_is_no_parquet_is_damage(tmp_path: Path) -> None:
    whole = parquet.encode(trajectory(3000), tables.TRAJECTORY, {})
    for data in (b"", b"PAR1", b"not a table at all", whole[:-100], whole[100:]):
        (tmp_path / "a.parquet").write_bytes(data)
        for source in (data, tmp_path / "a.parquet"):
            with pytest.raises(DamagedArtifact, match="compute it again"):
                parquet.decode(source, tables.TRAJECTORY)


def test_a_column_that_was_added_is_filled_in_where_stored_tables_lack_it() -> None:
    before = pa.schema({"sample_id": pa.int64(), "loss": pa.float32()})
    now = pa.schema([*before, pa.field("margin", pa.float32()), pa.field("kept", pa.bool_()), pa.field("arm", pa.string())])
    rules = Rules(
        undefined=frozenset({"margin"}), places="sample_id", always=("sample_id",), added={"margin": np.nan, "kept": True, "arm": ""}
    )
    tables.declare(now, rules)
    old = parquet.encode(pa.table({"sample_id": [0, 1], "loss": [0.5, 2.0]}), before, {})
    read = parquet.read(old, now)
    assert read.schema == now
    assert (read["loss"].to_pylist(), read["kept"].to_pylist(), read["arm"].to_pylist()) == ([0.5, 2.0], [True, True], ["", ""])
    assert np.isnan(read["margin"].to_numpy()).all()
    assert parquet.read(old, now, ["kept"]).column_names == ["kept"]
    new = parquet.encode(pa.table({"sample_id": [0], "loss": [1.0], "margin": [3.0], "kept": [False], "arm": ["x"]}), now, {})
    assert parquet.read(new, now).to_pylist() == [{"sample_id": 0, "loss": 1.0, "margin": 3.0, "kept": False, "arm": "x"}]
    partly = pa.schema([before.field("sample_id"), before.field("loss"), now.field("kept")])
    assert parquet.read(parquet.encode(pa.table({"sample_id": [0], "loss": [1.0], "kept": [False]}), partly, {}), now)[
        "kept"
    ].to_pylist() == [False]


def test_required_columns_and_types_are_asked_for_as_before() -> None:
    now = pa.schema({"sample_id": pa.int64(), "loss": pa.float32(), "extra": pa.float32()})
    tables.declare(now, Rules(undefined=frozenset({"extra"}), places="sample_id", always=("sample_id",), added={"extra": np.nan}))
    for stored, said in (
        (pa.schema({"sample_id": pa.int64()}), "loss: expected float, found nothing"),
        (pa.schema({"sample_id": pa.int64(), "loss": pa.float32(), "extra": pa.int64()}), "extra: expected float, found int64"),
        (pa.schema({"loss": pa.float32(), "sample_id": pa.int64()}), "order: expected"),
        (pa.schema({"sample_id": pa.int64(), "loss": pa.float32(), "other": pa.bool_()}), "other: not expected"),
    ):
        data = parquet.encode(pa.table({field.name: pa.array([0]).cast(field.type) for field in stored}), stored, {})
        with pytest.raises(IncompatibleArtifact, match=said):
            parquet.read(data, now)
