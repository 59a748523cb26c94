"""Any webdataset: splits, labels as numbers and names, keys with dots, and what is no sample."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from replicas.imagenet_replica import tar_of
from replicas.photo import photo

from bilp.config import IngestConfig
from bilp.data import ingest, open_dataset
from bilp.data.contents import Contents
from bilp.data.sources import open_source
from bilp.errors import DataError


def read(root: Path, classes: tuple[str, ...] = ()) -> Contents:
    return open_source(IngestConfig(source="webdataset", uri=str(root), classes=classes)).read()


def shard(place: Path, labels: list[tuple[str, str]], start: int = 0) -> None:
    """A shard of pictures 10, 11, ... whose labels lie in files of the given suffixes."""
    files = []
    for number, (suffix, label) in enumerate(labels, start):
        files += [(f"a/{number:04d}.jpg", photo(int(number) % 3, number, (12, 12))), (f"a/{number:04d}.{suffix}", label.encode())]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(tar_of(files))


def test_numbers_are_classes_in_their_order_and_splits_follow_from_names(tmp_path: Path) -> None:
    shard(tmp_path / "photos-train-000000.tar", [("cls", "10"), ("json", '{"label": 2}'), ("cls", "2")])
    shard(tmp_path / "photos-train-000001.tar", [("cls", "10"), ("cls", "0")], 3)
    shard(tmp_path / "photos-val-000000.tar", [("cls", "0"), ("cls", "10"), ("cls", "2")], 5)
    shard(tmp_path / "photos-test-000000.tar", [("cls", "-1")], 8)
    contents = read(tmp_path)
    assert contents.class_names == ("0", "2", "10")
    assert contents.items["train"].labels.tolist() == [2, 1, 1, 2, 0]
    assert contents.items["test"].labels.tolist() == [0, 2, 1]
    assert "passed over the test shards: no sample has a label" in contents.notes
    assert contents.absent == ()
    assert contents.items["train"].told()[0] == "photos-train-000000.tar/a/0000.jpg"


def test_names_are_classes_and_folders_splits(tmp_path: Path) -> None:
    shard(tmp_path / "train" / "0.tar", [("cls", "dog"), ("cls", "cat"), ("json", json.dumps({"label": "dog"}))])
    shard(tmp_path / "test" / "0.tar", [("cls", "cat"), ("cls", "dog")], 3)
    contents = read(tmp_path)
    assert contents.class_names == ("cat", "dog")
    assert contents.items["train"].labels.tolist() == [1, 0, 1]
    assert [len(part) for part in read(tmp_path, ("dog",)).items.values()] == [2, 1]
    asked = tmp_path.parent / f"{tmp_path.name}-classes.txt"
    asked.write_text("dog\n\ncat\n")
    assert read(tmp_path, (str(asked),)).class_names == ("dog", "cat")
    with pytest.raises(DataError, match=r"no train images of 'horse'; there are 'cat', 'dog'"):
        read(tmp_path, ("horse",))


def test_what_cannot_be_used_at_all_is_one_line(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", [("txt", "a caption")])
    with pytest.raises(DataError, match=r"no sample of the training shards has an image and a label: train-0.tar/a/0000.jpg: has no label"):
        read(tmp_path)
    (tmp_path / "train-0.tar").rename(tmp_path / "notes.txt")
    with pytest.raises(DataError, match=r"no shards of training images: expected tars such as train-0000.tar"):
        read(tmp_path)


@pytest.mark.slow
def test_it_is_ingested_as_any_source_compressed_or_not(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    shard(root / "train-0.tar", [("cls", str(number % 2)) for number in range(8)])
    whole = open_dataset(ingest(IngestConfig(source="webdataset", uri=str(root)), str(tmp_path / "store")))
    assert (whole.name, whole.class_names, len(whole.train) + len(whole.test)) == ("shapes", ("0", "1"), 8)
    (root / "train-0.tar").write_bytes(gzip.compress((root / "train-0.tar").read_bytes()))
    again = open_dataset(ingest(IngestConfig(source="webdataset", uri=str(root)), str(tmp_path / "store")))
    assert again.fingerprint == whole.fingerprint
    boxed = {
        ingest(IngestConfig(source="webdataset", uri=str(root), resolution=6, filter=name), str(tmp_path / "store"))
        for name in ("box", "lanczos")
    }
    assert len(boxed) == 2
