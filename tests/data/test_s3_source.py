"""Folder and Parquet sources in object storage, and a store that lies there, against a real S3 server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fsspec.core import url_to_fs

from bilp.config import IngestConfig
from bilp.data import ingest, open_dataset, read_source
from bilp.data.alterations.corrections_file import COLUMNS
from bilp.data.sources.folder.source import ImageFolder
from bilp.errors import DataError, StorageError
from bilp.storage import objects
from bilp.truth.table import open_truth, truth_uri

pytestmark = pytest.mark.s3


def upload(folder: Path, uri: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            objects.write(objects.join(uri, path.relative_to(folder).as_posix()), path.read_bytes())


def test_a_folder_in_s3_gives_the_same_data_set(s3_root: str, tmp_path: Path, write_folder: Callable[[Any], Path], pets: Any) -> None:
    local = write_folder({**pets, "train/.hidden/1.png": b"x", "train/cat/50% #1?.png": pets["train/cat/0.png"]})
    source = objects.join(s3_root, "pets")
    upload(local, source)
    here = open_dataset(ingest(IngestConfig(source="folder", uri=str(local)), str(tmp_path / "store")))
    uri = ingest(IngestConfig(source="folder", uri=source), objects.join(s3_root, "store"))
    there = open_dataset(uri)
    assert uri.startswith("s3://")
    assert (there.name, there.fingerprint, there.class_names) == (here.name, here.fingerprint, here.class_names)
    assert torch.equal(there.train.images(), here.train.images())
    assert there.train.index().equals(here.train.index())


def test_what_systems_leave_behind_is_ignored_in_s3_as_on_disk(s3_root: str, write_folder: Callable[[Any], Path], pets: Any) -> None:
    left = {
        "__MACOSX/train/cat/._0.png": b"x",
        "train/cat/@eaDir/0.png/THUMB.jpg": b"x",
        "train/cat/@eaDir/1.png/THUMB.jpg": b"x",
        "train/Thumbs.db": b"x",
        "train/dog_$folder$": b"",
        "metadata.csv": b"x",
    }
    wrapped = {f"photos/{name.replace('train/', 'Training/')}": content for name, content in {**pets, **left}.items()}
    local = write_folder(wrapped)
    source = objects.join(s3_root, "pets")
    upload(local, source)
    here, there = (ImageFolder(IngestConfig(source="folder", uri=str(uri))).read() for uri in (local, source))
    assert there.notes == here.notes
    assert any(
        "ignored 4 hidden or left-behind files and directories: *_$folder$ (1), @eaDir (1), Thumbs.db (1), __MACOSX (1)" in note
        for note in there.notes
    )
    assert there.class_names == here.class_names == ("cat", "dog")
    for split in ("train", "test"):
        assert there.labels[split].tolist() == here.labels[split].tolist()


def test_a_key_with_an_empty_name_is_refused_by_name(s3_root: str) -> None:
    source = objects.join(s3_root, "pets")
    objects.write(objects.join(source, "cat/1.png"), b"x")
    filesystem, path = url_to_fs(source, skip_instance_cache=True)
    filesystem.pipe_file(f"{path}/cat//2.png", b"x")
    with pytest.raises(DataError, match=r"the key '.*/pets/cat//2\.png' has an empty name between two slashes"):
        ImageFolder(IngestConfig(source="folder", uri=source)).signature()


def test_a_changed_object_is_read_again_and_an_unchanged_one_is_not(s3_root: str, write_folder: Callable[[Any], Path], pets: Any) -> None:
    source, store = objects.join(s3_root, "pets"), objects.join(s3_root, "store")
    upload(write_folder(pets), source)
    config = IngestConfig(source="folder", uri=source)
    calls: list[int] = []
    first = ingest(config, store)
    assert ingest(config, store, lambda done, total, note="": calls.append(done)) == first
    assert calls == []
    # the same size, another content: only the ETag tells
    data = objects.read(objects.join(source, "train/cat/0.png"))
    objects.write(objects.join(source, "train/cat/0.png"), bytes(len(data)))
    with pytest.raises(DataError, match=r"train/cat/0\.png: not an image"):
        ingest(config, store)


def test_parquet_in_s3(
    s3_root: str, tmp_path: Path, write_folder: Callable[[Any], Path], pets: Any, write_parquet: Callable[..., None]
) -> None:
    local = write_folder(pets)
    images = [(local / name).read_bytes() for name in pets]
    write_parquet(tmp_path / "tiny/train-0.parquet", images[:6], [0, 0, 0, 1, 1, 1], ("cat", "dog"))
    write_parquet(tmp_path / "tiny/test-0.parquet", images[6:], [0, 0, 1, 1], ("cat", "dog"))
    upload(tmp_path / "tiny", objects.join(s3_root, "tiny"))
    dataset = open_dataset(ingest(IngestConfig(source="parquet", uri=objects.join(s3_root, "tiny")), objects.join(s3_root, "store")))
    assert dataset.name == "tiny"
    assert torch.equal(dataset.train.images()[3], torch.from_numpy(pets["train/dog/0.png"]).permute(2, 0, 1))


def test_a_wrong_place_in_s3(s3_root: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing lies there"):
        ingest(IngestConfig(source="folder", uri=objects.join(s3_root, "nowhere")), str(tmp_path))
    with pytest.raises(StorageError, match="bucket does not exist"):
        ingest(IngestConfig(source="folder", uri="s3://no-such-bucket/pets"), str(tmp_path))


@pytest.mark.slow
def test_labels_and_corrections_are_read_from_a_bucket_and_the_truth_lies_there(s3_root: str) -> None:
    labels, table = objects.join(s3_root, "labels.json"), objects.join(s3_root, "corrections.csv")
    objects.write(labels, json.dumps([0] * 900 + [1] * 897).encode())
    objects.write(table, f"{','.join(COLUMNS)}\n".encode())
    noise = {"kind": "symmetric", "share": 0.2}
    record = read_source({"label_noise": noise, "corrections": table}, objects.join(s3_root, "store"))
    truth = open_truth(record)
    assert truth is not None and truth.errors == 288
    assert record.startswith("s3://") and truth.uri == truth_uri(record)
    assert read_source({"label_noise": noise, "corrections": table}, objects.join(s3_root, "store")) == record
    with pytest.raises(DataError, match="leaves no train image of class '2'"):
        read_source({"label_noise": {"kind": "file", "file": labels}}, objects.join(s3_root, "store"))
