"""Tables whose checksums are right and whose rows are not; one damage a row, read by the stage that reads it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tiny_world import DISTILL, MEASURE, RESELECT, SCORE, World, content_of, put, state

from bilp.artifacts import parquet, tables
from bilp.artifacts.artifact import open_artifact
from bilp.data import open_dataset
from bilp.data.ingestion import INDEX
from bilp.data.source_record import ORIGINS
from bilp.data.truth_file import TRUTH
from bilp.distill import start_run
from bilp.distill.round_files import round_effects, round_losses
from bilp.evaluate import load_robustness, summary
from bilp.evaluate.reproduction import load_reproduction
from bilp.scoring.summary import criterion_scores, load_summary, open_summary, summarize
from bilp.storage import objects
from bilp.truth.table import open_truth

Edit = Callable[[pa.Table], pa.Table]
Read = Callable[[World], object]


def again(config: Any) -> Read:
    """Summarize trials once more, for summaries that are gone."""

    def read(world: World) -> object:
        name = "score_summary" if config is SCORE else "score_summary measured"
        objects.delete(world.artifacts[name])
        return summarize(world.artifacts["dataset"], config, world.root)

    return read


def labels(world: World) -> Any:
    return open_dataset(world.artifacts["dataset"]).train.labels


READERS: Mapping[str, tuple[str, str, pa.Schema, Read]] = {
    "index": ("dataset", "train.parquet", INDEX, lambda world: open_dataset(world.artifacts["dataset"]).train.index()),
    "origins": (
        "source",
        "train.parquet",
        ORIGINS,
        lambda world: open_dataset(world.artifacts["dataset"], world.artifacts["source"]).origins("train"),
    ),
    "truth": ("truth", "truth.parquet", TRUTH, lambda world: open_truth(world.artifacts["source noisy"])),
    "trial": ("score_trial", "losses.parquet", tables.TRAJECTORY, again(SCORE)),
    "measured": ("score_trial measured", "scores.parquet", tables.MEASURED, again(MEASURE)),
    "summary": ("score_summary", "summary.parquet", tables.SUMMARY, lambda world: load_summary(world.artifacts["score_summary"])),
    "scores": (
        "score_summary measured",
        "scores.parquet",
        tables.MEASURED_SUMMARY,
        lambda world: criterion_scores(open_summary(world.artifacts["score_summary measured"]), "herding"),
    ),
    "selection": (
        "selection",
        "selection.parquet",
        tables.SELECTION,
        lambda world: start_run(world.artifacts["dataset"], world.artifacts["selection"], DISTILL, RESELECT, world.root),
    ),
    "effects": (
        "reselect",
        "ite.parquet",
        tables.ITE,
        lambda world: round_effects(open_artifact(world.artifacts["reselect"], "reselect"), labels(world)),
    ),
    "losses": ("round", "losses.parquet", tables.LOSSES, lambda world: round_losses(open_artifact(world.artifacts["round"], "round"))),
    "evaluation": ("evaluation", "evaluation.parquet", tables.EVALUATION, lambda world: summary([world.artifacts["evaluation"]])),
    "robustness": ("robustness", "robustness.parquet", tables.ROBUSTNESS, lambda world: load_robustness(world.artifacts["robustness"])),
    "reproduction": (
        "reproduction",
        "reproduction.parquet",
        tables.REPRODUCTION,
        lambda world: load_reproduction(world.artifacts["reproduction"]),
    ),
}


def at(column: str, row: int, value: Any) -> Edit:
    """Another value in one row."""

    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value
        return table.set_column(table.column_names.index(column), table.schema.field(column), pa.array(values, table[column].type))

    return change


def swapped(table: pa.Table) -> pa.Table:
    order = np.arange(len(table))
    order[[0, 1]] = [1, 0]
    return table.take(order)


def first_twice(table: pa.Table) -> pa.Table:
    return table.take(np.maximum(np.arange(len(table)) - 1, 0))


def shorter(table: pa.Table) -> pa.Table:
    return table.slice(0, len(table) - 1)


def doubled(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table])


ROWS: list[tuple[str, Edit, str]] = [
    ("truth", at("label", 0, -1), "label of row 0 is -1"),
    ("truth", at("true_label", 0, None), "column true_label holds 1 nulls"),
    ("truth", at("copy_of", 3, -2), "copy_of of row 3 is -2"),
    ("truth", at("copy_of", 3, 1452), "copy_of of row 3 is 1452"),
    ("truth", at("copy_of", 3, 7), "copies"),
    ("truth", at("wrong", 0, None), "column wrong holds 1 nulls"),
    ("truth", lambda table: table.set_column(3, "wrong", pc.invert(table["wrong"])), "calls other labels wrong than those that differ"),
    ("truth", swapped, "sample_id of row 0 is 1"),
    ("truth", shorter, "has 1,451 rows instead of 1,452"),
    ("index", at("label", 0, 10), "label of row 0 is 10, not from 0 to 9"),
    ("index", at("label", 5, -1), "label of row 5 is -1"),
    ("index", at("label", 0, 3), "the labels of train are not those that the manifest counts"),
    ("index", at("label", 0, None), "column label holds 1 nulls"),
    ("index", shorter, "has 1,437 rows instead of 1,438"),
    ("index", doubled, "has 2,876 rows instead of 1,438"),
    ("index", at("sha256", 3, "no digest"), "sha256 of row 3 is 'no digest'"),
    ("index", at("sample_id", 3, 4), "sample_id of row 3 is 4, not the number of its row"),
    ("origins", shorter, "has 1,437 rows instead of 1,438"),
    ("origins", at("origin", 0, None), "column origin holds 1 nulls"),
    ("origins", at("origin", 0, "x" * 70_000), "a text of 70,000 bytes"),
    ("origins", swapped, "sample_id of row 0 is 1"),
    ("trial", at("loss", 1, float("nan")), "loss of row 1 is nan"),
    ("trial", at("loss", 1, float("inf")), "loss of row 1 is inf"),
    ("trial", at("loss", 1, -1.0), "loss of row 1 is -1.0"),
    ("trial", at("el2n", 2, None), "column el2n holds 1 nulls"),
    ("trial", swapped, "in the order of epoch, sample_id"),
    ("trial", first_twice, "in the order of epoch, sample_id"),
    ("trial", at("sample_id", 1437, 1438), "sample_id of row 1,437 is 1438, not from 0 to 1437"),
    ("trial", at("epoch", 2875, 2), "epoch of row 2,875 is 2"),
    ("trial", shorter, "has 2,875 rows instead of 2,876"),
    ("measured", at("score", 0, float("nan")), "score of row 0 is nan"),
    ("measured", at("sample_id", 1437, 10**6), "sample_id of row 1,437 is 1000000"),
    ("measured", at("sample_id", 0, -1), "sample_id of row 0 is -1"),
    ("measured", swapped, "in the order of sample_id"),
    ("measured", shorter, "has 1,437 rows instead of 1,438"),
    ("summary", at("el2n", 0, float("nan")), "el2n of row 0 is nan"),
    ("summary", at("accuracy", 0, 1.5), "accuracy of row 0 is 1.5, not from 0 to 1"),
    ("summary", at("loss_init_std", 0, -0.5), "loss_init_std of row 0 is -0.5"),
    ("summary", swapped, "sample_id of row 0 is 1"),
    ("summary", doubled, "has 2,876 rows instead of 1,438"),
    ("scores", shorter, "has 1,437 rows instead of 1,438"),
    ("scores", at("score", 0, float("inf")), "score of row 0 is inf"),
    ("scores", first_twice, "sample_id of row 1 is 0"),
    ("selection", at("label", 0, 99), "label of row 0 is 99, not from 0 to 9"),
    ("selection", at("label", 0, 3), "keeps other numbers of each class|has other labels"),
    ("selection", at("score", 0, float("nan")), "score of row 0 is nan"),
    ("selection", at("kept", 0, None), "column kept holds 1 nulls"),
    ("selection", swapped, "sample_id of row 0 is 1"),
    ("selection", shorter, "has 1,437 rows instead of 1,438"),
    ("effects", at("ite", 0, float("nan")), "ite of row 0 is nan"),
    ("effects", at("ite", 0, -1.0), "holds negative scores by ite"),
    ("effects", at("sample_id", -1, 1438), "is 1438, not from 0 to 1437"),
    ("effects", at("label", 0, 9), "holds other samples, another round"),
    ("effects", at("round", 0, 2), "holds other samples, another round"),
    ("effects", swapped, "in the order of sample_id"),
    ("effects", shorter, "another share of dropped ones|dropped"),
    ("losses", at("loss", 0, float("nan")), "loss of row 0 is nan"),
    ("losses", at("iteration", 1, 7), "iteration of row 1 is 7, not from 0 to 1"),
    ("losses", swapped, "in the order of iteration"),
    ("losses", first_twice, "in the order of iteration"),
    ("losses", shorter, "has 1 rows instead of 2"),
    ("losses", at("dropped_share", 0, 2.0), "dropped_share of row 0 is 2.0"),
    ("evaluation", at("accuracy", 0, 96.3), "accuracy of row 0 is 96.3"),
    ("evaluation", at("accuracy", 0, float("nan")), "accuracy of row 0 is nan"),
    ("evaluation", at("arm", 0, "bilp"), "holds a row of .*'arm': 'bilp'"),
    ("evaluation", at("network", 0, "[/red]"), "holds a row of"),
    ("evaluation", first_twice, "1 rows are there twice"),
    ("evaluation", at("train_images", 0, 0), "train_images of row 0 is 0"),
    ("robustness", at("lrs", 0, 1.5), "lrs of row 0 is 1.5"),
    ("robustness", doubled, "1 rows are there twice"),
    ("reproduction", at("accuracy", 0, -1.0), "accuracy of row 0 is -1.0"),
    ("reproduction", at("half_width95", 0, float("nan")), "half_width95 of row 0 is nan"),
    ("reproduction", at("n", 0, 0), "n of row 0 is 0"),
]


@pytest.mark.parametrize(("which", "change", "pattern"), ROWS, ids=[f"{which} {pattern[:40]}" for which, _, pattern in ROWS])
def test_rows_that_cannot_be_are_refused(world: World, refused: Callable[..., str], which: str, change: Edit, pattern: str) -> None:
    name, file, schema, read = READERS[which]
    uri = world.artifacts[name]
    before = parquet.decode(content_of(uri, file), schema)
    after = change(before)
    assert not after.equals(before)
    put(uri, file, written(after))
    line = refused(lambda: read(world), pattern)
    assert file in line or uri in line


@pytest.mark.parametrize("which", READERS)
def test_what_the_stages_wrote_is_read(world: World, which: str) -> None:
    assert READERS[which][3](world) is not None


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue()


@pytest.mark.parametrize("which", READERS)
def test_a_table_of_millions_of_equal_rows_is_refused_by_what_it_states(world: World, refused: Callable[..., str], which: str) -> None:
    """Its rows are all equal, so that it is small; reading them would take gigabytes."""
    name, file, schema, read = READERS[which]
    group = pa.table({field.name: pa.repeat(pa.scalar("x" if pa.types.is_string(field.type) else 0).cast(field.type), 10**6)
                      for field in schema}, schema)  # fmt: skip
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for _ in range(3):
            writer.write_table(group)
    put(world.artifacts[name], file, sink.getvalue())
    refused(lambda: read(world), r"has 3,000,000 rows instead of|states 3,000,000 rows, [0-9,]+ are the most here")


def test_a_text_that_is_repeated_is_not_spelled_out(refused: Callable[..., str]) -> None:
    """A column of 60,000 texts of 60 kB each takes 60 kB in a file, and would take 3.6 GB in memory."""
    schema = pa.schema([("text", pa.string())])
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(60_000, np.int32)), pa.array(["x" * 60_000]))
    data = written(pa.table({"text": column}), store_schema=False)
    assert len(data) < 100_000
    refused(lambda: parquet.decode(data, schema), r"text holds texts of 3,600,000,000 bytes in all, 1,073,741,824 are the most")


def test_a_selection_of_another_data_set_with_as_many_samples_is_refused(world: World, refused: Callable[..., str]) -> None:
    """Labels of two samples of different classes are exchanged, and every count is as before."""
    uri = world.artifacts["selection"]
    table = parquet.decode(content_of(uri, "selection.parquet"), tables.SELECTION)
    own, kept = table["label"].to_pylist(), table["kept"].to_pylist()
    other = next(row for row in range(len(own)) if own[row] != own[0] and kept[row] == kept[0])
    put(uri, "selection.parquet", written(at("label", 0, own[other])(at("label", other, own[0])(table))))
    refused(lambda: READERS["selection"][3](world), "has other labels than the data set")


def test_a_trial_of_another_length_is_refused(world: World, refused: Callable[..., str]) -> None:
    state(world.artifacts["score_trial"], epochs=1)
    refused(lambda: again(SCORE)(world), "states 1 epochs of 1438 samples, not 2 of 1438")
