"""Shards of pixels, records of sources and of runs that somebody changed who may write the storage."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tiny_world import World, content_of, edit, put, state

from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import RECORD
from bilp.config import IngestConfig
from bilp.data import ingest, open_dataset, read_source
from bilp.data.ingestion import dataset_of
from bilp.data.shards import _schema
from bilp.distill import distill_round, open_run
from bilp.distill.inputs import open_pool
from bilp.errors import BilpError

SHAPE, FILE, ROWS = (1, 8, 8), "train-00000.arrow", 1438


def shard(rows: int, shape: tuple[int, int, int] = SHAPE, batches: int = 1, kind: Any = np.uint8, **options: Any) -> bytes:
    """A shard as the stage writes it, but for what is asked for."""
    schema = _schema(shape)
    values = pa.array(np.zeros(rows * int(np.prod(shape)), kind))
    if kind is not np.uint8:
        inner = pa.field("pixel", values.type, nullable=False)
        schema = pa.schema([pa.field("image", pa.list_(inner, int(np.prod(shape))), nullable=False)], metadata=schema.metadata)
    column = pa.FixedSizeListArray.from_arrays(values, type=schema.field("image").type)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for _ in range(batches):
            writer.write_batch(pa.record_batch([column], schema=schema))
    return sink.getvalue()


def cut(data: bytes) -> bytes:
    return data[: len(data) - 100]


def flipped(place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


SHARDS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "no Arrow": lambda data: b"\0" * len(data),
    "text": lambda data: b"ARROW1\0\0" * (len(data) // 8),
    "cut": cut,
    "metadata": flipped(-60),
    "footer": flipped(-8),
    "end": flipped(-1),
    "longer": lambda data: data + b"\0" * 100_000,
    "another shape": lambda data: shard(ROWS, (1, 4, 16)),
    "a flat shape": lambda data: shard(ROWS * 64, (1, 1, 1)),
    "fewer images": lambda data: shard(ROWS - 1),
    "more images": lambda data: shard(ROWS + 1),
    "two batches": lambda data: shard(ROWS // 2, batches=2),
    "no batch": lambda data: shard(ROWS, batches=0),
    "signed": lambda data: shard(ROWS, kind=np.int8),
    "float": lambda data: shard(ROWS, kind=np.float32),
    "compressed": lambda data: shard(ROWS, compression="zstd"),
    "compressed bomb": lambda data: shard(ROWS * 400, compression="zstd"),
}


@pytest.mark.parametrize("damage", SHARDS.values(), ids=SHARDS)
def test_a_shard_that_does_not_hold_the_pixels_that_are_stated_is_refused(
    world: World, refused: Callable[..., str], damage: Callable[[bytes], bytes]
) -> None:
    uri = world.artifacts["dataset"]
    put(uri, FILE, damage(content_of(uri, FILE)))
    refused(lambda: open_dataset(uri).train.images(), "ingest the data set again")


def test_every_byte_around_the_pixels_may_be_wrong(world: World, refused: Callable[..., str]) -> None:
    """Each is either refused in a line or changes nothing that is read but pixels."""
    uri = world.artifacts["dataset"]
    before = content_of(uri, FILE)
    answered = 0
    for place in [*range(0, 700, 9), *range(len(before) - 700, len(before), 9)]:
        put(uri, FILE, flipped(place)(before))
        try:
            images = open_dataset(uri).train.images()
        except BilpError as error:
            assert "\n" not in str(error) and "again" in str(error)
            answered += 1
        else:
            assert images.shape == (ROWS, *SHAPE)
    assert answered > 20


def test_the_record_of_a_source_that_leads_to_another_data_set_is_refused(world: World, refused: Callable[..., str]) -> None:
    record, other = world.artifacts["source"], ingest(IngestConfig(test_fraction=0.3), world.root)
    mark = other.rpartition("/")[2]
    config = IngestConfig()
    state(record, fingerprint=mark)
    for read in (lambda: dataset_of(record, config), lambda: read_source(config, world.root), lambda: open_dataset(other, record)):
        refused(read, f"states the data set {mark} and was made with .*compute it again")
    edit(record, lambda manifest: manifest["parents"].clear())
    refused(lambda: dataset_of(record, config), "was made with none")


def test_origins_of_another_number_of_images_are_refused(world: World, refused: Callable[..., str]) -> None:
    record, other = world.artifacts["source"], read_source(IngestConfig(test_fraction=0.3), world.root)
    for name in ("train.parquet", "test.parquet"):
        put(record, name, content_of(other, name))
    refused(lambda: open_dataset(world.artifacts["dataset"], record).origins("train"), "rows instead of 1,438")


def text(**values: Any) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({**json.loads(data), **values}).encode()


def distill(**values: Any) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        content = json.loads(data)
        content["distill"] |= values
        return json.dumps(content).encode()

    return changed


RUNS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "data set elsewhere": (text(dataset="/etc"), "its dataset lies at '/etc'"),
    "data set in a bucket": (text(dataset="s3://evil/datasets/digits/0000000000000000"), "its dataset lies at 's3://evil"),
    "data set above": (text(dataset="../../../x"), "its dataset lies at"),
    "data set with NUL": (text(dataset="a\0b"), "its dataset lies at"),
    "data set that is a number": (text(dataset=3), "dataset: Input should be a valid string"),
    "selection elsewhere": (text(selection="selections/0000000000000000"), "its selection lies at"),
    "no selection": (text(selection=None), "its selection lies at None"),
    "experts of a method without": (text(experts="experts/a/b/buffers/c"), "its experts lies at"),
    "edited parents": (text(parents={"dataset": "0" * 16}), "was changed: its content has key"),
    "edited settings": (distill(iterations=400), "was changed: its content has key"),
    "impossible settings": (distill(iterations=-1), r"distill\.iterations: Input should be greater"),
    "unknown field": (text(extra=1), "extra: this version knows nothing of that name"),
    "unknown setting": (distill(extra=1), r"distill\.extra: this version knows nothing of that name"),
    "another key": (text(key="0" * 16), "was changed|was registered as"),
    "NaN": (lambda data: data.replace(b'"version"', b'"x": NaN, "version"', 1), "NaN is no number"),
    "a key twice": (lambda data: data.replace(b'"version"', b'"version": 1, "version"', 1), "the key 'version' twice"),
    "20,000 levels": (lambda data: b"[" * 20_000 + b"]" * 20_000, "64 deep"),
    "40 MB": (lambda data: data + b" " * 40_000_000, "at most 33,554,432 are read"),
    "no UTF-8": (lambda data: b"\xff" + data, "no UTF-8"),
    "empty": (lambda data: b"", "Expecting value"),
    "a list": (lambda data: b"[]", "is not the record of a run"),
}


@pytest.mark.parametrize(("damage", "pattern"), RUNS.values(), ids=RUNS)
def test_the_record_of_a_run_that_was_changed_is_refused(
    world: World, refused: Callable[..., str], damage: Callable[[bytes], bytes], pattern: str
) -> None:
    run = world.runs["dm"]
    open_run(run)
    path = Path(run, RECORD)
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    refused(lambda: open_run(run), pattern)
    refused(lambda: distill_round(run, 1), pattern)


def test_a_selection_of_another_key_in_the_folder_of_the_run_is_not_used(world: World, refused: Callable[..., str]) -> None:
    """Outside of a storage no folder tells the key, so the manifest's is compared."""
    run, elsewhere = world.runs["dm"], Path(world.root).parent / "elsewhere"
    key = world.artifacts["selection"].rpartition("/")[2]
    place = elsewhere / key
    shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.copytree(world.artifacts["selection other"], place)
    edit(run, lambda record: record.update(selection=str(place)), RECORD)
    refused(lambda: open_pool(run, open_run(run)), f"but the run was started with {key}")
    assert (place / MANIFEST).exists()
