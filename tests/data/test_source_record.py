"""The record of a source: origins that are current, notes, and what became of storages from before there were records."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from bilp.artifacts import parquet
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.publication import publish
from bilp.config import IngestConfig
from bilp.data import Dataset, ingest, open_dataset, open_recorded, read_source
from bilp.data.source_record import open_record
from bilp.errors import DamagedArtifact, DataError, IncompatibleArtifact, MissingArtifact
from bilp.storage import objects

WriteFolder = Callable[[Any], Path]


def folder(uri: Path | str, **settings: Any) -> IngestConfig:
    return IngestConfig(source="folder", uri=str(uri), **settings)


def load(uri: Path | str, store: Path, **settings: Any) -> Dataset:
    return open_recorded(read_source(folder(uri, **settings), str(store)))


def test_renamed_files_are_the_same_data_set_and_known_by_their_new_names(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root, store = write_folder(pets), tmp_path / "store"
    before = load(root, store)
    for number in (2, 1, 0):
        (root / f"train/cat/{number}.png").rename(root / f"train/cat/{number + 1}.png")
    after = load(root, store)
    assert after.uri == before.uri
    assert after.origins("train") == [f"train/cat/{i}.png" for i in (1, 2, 3)] + [f"train/dog/{i}.png" for i in range(3)]
    assert before.origins("train")[0] == "train/cat/0.png", "what the former reading said is kept"
    assert after.record is not None
    for place, origin in enumerate(after.origins("train")):
        assert after.record.origin("train", place) == origin
        file = pets[origin.replace("cat/", "cat/-").replace("-1", "0").replace("-2", "1").replace("-3", "2")]
        assert torch.equal(after.train.images()[place], torch.from_numpy(file).permute(2, 0, 1))


def test_equal_content_of_two_sources_is_one_store_with_the_same_bytes(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root = write_folder(pets)
    other = tmp_path / "elsewhere" / "pets"
    for name in pets:
        (other / name.replace("png", "bmp")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, other / name.replace("png", "bmp"))
    apart = [load(uri, tmp_path / f"store {number}") for number, uri in enumerate((root, other))]
    first, second = (open_artifact(dataset.uri, "dataset").manifest for dataset in apart)
    assert (first.files, first.facts, first.config, first.parents) == (second.files, second.facts, second.config, second.parents)
    assert "pets" not in str(first.files) and str(tmp_path) not in first.model_dump_json()
    together = [load(uri, tmp_path / "store") for uri in (root, other)]
    assert together[0].uri == together[1].uri
    assert [dataset.origins("test")[0] for dataset in together] == ["test/cat/0.png", "test/cat/0.bmp"]


def test_a_record_states_its_source_and_leads_to_its_data_set(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root, store = write_folder(pets), tmp_path / "store"
    uri = read_source(folder(root), str(store))
    record = open_record(uri)
    facts = record.artifact.manifest.facts
    assert uri.startswith(f"{store}/datasets/pets/sources/")
    assert record.dataset_uri == ingest(folder(root), str(store)) == record.artifact.parents["dataset"]
    assert record.artifact.manifest.parents == {"dataset": f"datasets/pets/{facts['fingerprint']}"}
    assert (facts["uri"], facts["source"], facts["skipped"]) == (str(root), "folder", {"train": 0, "test": 0})
    assert record.lines() == ["the classes of the training images are in train/; those of the test images are in test/"]
    moved = store.rename(tmp_path / "moved")
    assert open_recorded(uri.replace(str(store), str(moved))).uri.startswith(str(moved))


def test_a_relative_path_is_another_source_elsewhere(tmp_path: Path, write_folder: WriteFolder, pets: Any, monkeypatch: Any) -> None:
    root = write_folder(pets)
    monkeypatch.chdir(root.parent)
    assert read_source(folder("pets"), str(tmp_path / "store")) == read_source(folder(root), str(tmp_path / "store"))
    shutil.copytree(root, tmp_path / "copy" / "pets")
    monkeypatch.chdir(tmp_path / "copy")
    record = open_record(read_source(folder("pets"), str(tmp_path / "store")))
    assert record.place == str(tmp_path / "copy" / "pets")


def test_a_data_set_has_no_origins_without_the_record_and_refuses_that_of_another(
    tmp_path: Path, write_folder: WriteFolder, pets: Any
) -> None:
    store = str(tmp_path / "store")
    pets_uri = ingest(folder(write_folder(pets)), store)
    with pytest.raises(MissingArtifact, match="open_recorded"):
        open_dataset(pets_uri).origins("train")
    with pytest.raises(IncompatibleArtifact, match="is the record of data set .* ingest the source again"):
        open_dataset(pets_uri, read_source(IngestConfig(), store))


def test_a_whitened_data_set_takes_the_record_of_its_pixels(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root, store = write_folder(pets), str(tmp_path / "store")
    white = ingest(folder(root, whitening="zca"), store)
    assert open_dataset(white, read_source(folder(root), store)).origins("test")[0] == "test/cat/0.png"


def test_a_damaged_record_is_named(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root, store = write_folder(pets), str(tmp_path / "store")
    uri = read_source(folder(root), store)
    os.truncate(Path(uri) / "train.parquet", 10)
    with pytest.raises(DamagedArtifact, match=r"sources/\w+/train\.parquet has 10 bytes"):
        read_source(folder(root), store)
    (Path(uri) / "_manifest.json").write_bytes(b"{")
    with pytest.raises(DamagedArtifact, match=r"_manifest\.json cannot be read"):
        read_source(folder(root), store)


def test_a_record_whose_data_set_is_gone_follows_the_source(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    """The picture is replaced in a way that the signature does not see."""
    root, store = write_folder(pets), tmp_path / "store"
    config = IngestConfig(source="digits")
    uri = read_source(config, str(store))
    manifest = Path(uri) / "_manifest.json"
    stale = manifest.read_text().replace(open_record(uri).artifact.fact("fingerprint"), "0" * 16)
    manifest.write_text(stale)
    dataset = open_recorded(read_source(config, str(store)))
    assert (len(dataset.train), dataset.fingerprint) == (1438, "143b89124b3a5fad")
    before = load(root, store)
    objects.delete(before.uri)
    assert load(root, store).uri == before.uri


def as_published_before(store: Path, dataset: Dataset) -> None:
    """Turn a storage into what was written before sources had records: origins in the index, the ledger in the store, a pointer."""
    former = pa.schema([("sample_id", pa.int64()), ("label", pa.int32()), ("origin", pa.string()), ("sha256", pa.string())])
    there = open_artifact(dataset.uri, "dataset")
    files: dict[str, bytes] = {name: there.read(name) for name in there.manifest.files}
    for name in ("train", "test"):
        table = parquet.decode(files[f"{name}.parquet"], pa.schema([f for f in former if f.name != "origin"]))
        old = table.append_column("origin", pa.array([f"old/{row}.png" for row in range(len(table))]))
        files[f"{name}.parquet"] = parquet.encode(old, former, {})
    facts = {**there.manifest.facts, "skipped": 0}
    objects.delete(dataset.uri)
    shutil.rmtree(store / "datasets" / dataset.name / "sources")
    publish(dataset.uri, "dataset", dataset.fingerprint, files, config={}, parents={}, facts=facts)
    objects.write(f"{store}/datasets/{dataset.name}/by-source/{'0' * 16}.json", b'{"fingerprint": "x", "skipped": []}')


def test_a_storage_from_before_records_is_used_as_it_is_and_gets_them(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root, store = write_folder(pets), tmp_path / "store"
    before = load(root, store)
    as_published_before(store, before)
    files = open_artifact(before.uri, "dataset").manifest.files
    assert open_dataset(before.uri).train.labels.tolist() == before.train.labels.tolist()
    after = load(root, store)
    assert open_artifact(after.uri, "dataset").manifest.files == files, "nothing was written anew"
    assert after.train.index().column_names == ["sample_id", "label", "sha256"]
    assert after.origins("train")[0] == "train/cat/0.png"


def test_an_index_of_neither_schema_is_refused(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    dataset = load(write_folder(pets), tmp_path / "store")
    there = open_artifact(dataset.uri, "dataset").manifest
    other = parquet.encode(pa.table({"label": [1]}), pa.schema([("label", pa.int64())]), {})
    files = {name: (Path(dataset.uri) / name) for name in there.files} | {"train.parquet": other}
    publish(str(tmp_path / "odd"), "dataset", there.key, files, config={}, parents={}, facts=there.facts)
    with pytest.raises(IncompatibleArtifact, match="sample_id: expected int64, found nothing"):
        open_dataset(str(tmp_path / "odd"))


def test_what_was_noticed_is_kept_and_told_at_every_reading(tmp_path: Path, write_folder: WriteFolder) -> None:
    gray = np.random.default_rng(0).integers(0, 4000, (8, 4, 4), dtype=np.uint16)
    root = write_folder({f"{kind}/{i}.png": gray[4 * k + i] for k, kind in enumerate("ab") for i in range(4)})
    first = read_source(folder(root), str(tmp_path / "store"))
    assert read_source(folder(root), str(tmp_path / "store")) == first
    _, line = open_record(first).lines()
    assert line.startswith(f"16-bit gray images hold values up to {gray.max()} only (12 bits)")
    assert "set ingest.bits to 12" in line


def test_images_that_only_look_equal_because_they_are_dark_are_refused_with_the_reason(tmp_path: Path, write_folder: WriteFolder) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (8, 4, 4), dtype=np.uint16)  # 0 and 1 of 65535 are both black
    root = write_folder({f"{kind}/{i}.png": masks[4 * k + i] for k, kind in enumerate("ab") for i in range(4)})
    with pytest.raises(DataError, match=r"too few different images.*; 16-bit gray images hold values up to 1 only \(1 bit\) and are dark"):
        read_source(folder(root), str(tmp_path / "store"))
