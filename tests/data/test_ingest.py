"""The stage from end to end: content, facts, caching, determinism, color, corrupt files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bilp.artifacts.artifact import open_artifact
from bilp.config import IngestConfig
from bilp.data import Split, convert, ingest, open_dataset, open_recorded, read_source, shards
from bilp.data.contents import SPLITS
from bilp.data.opening import FORMATS
from bilp.errors import DamagedArtifact, DataError, StorageError
from bilp.progress import Progress
from bilp.storage import objects

WriteFolder = Callable[[Any], Path]


class Counter:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self.calls.append((done, total))


def folder(uri: Path, **settings: Any) -> IngestConfig:
    return IngestConfig(source="folder", uri=str(uri), **settings)


def test_digits_end_to_end(tmp_path: Path) -> None:
    progress: Progress = (counter := Counter())
    dataset = open_recorded(read_source(IngestConfig(), str(tmp_path), progress))
    source, labels = load_digits(return_X_y=True)
    assert counter.calls[-1] == (1797, 1797)
    assert (dataset.name, dataset.shape, dataset.classes) == ("digits", (1, 8, 8), 10)
    assert dataset.class_names == tuple("0123456789")
    assert len(dataset.train) + len(dataset.test) == 1797
    for name in SPLITS:
        split: Split = getattr(dataset, name)
        index = split.index().to_pydict()
        rows = [int(origin.removeprefix("digits/")) for origin in dataset.origins(name)]
        assert rows == sorted(rows), "the order of the source"
        expected = np.floor(source[rows] * 255 / 16 + 0.5).astype(np.uint8).reshape(-1, 1, 8, 8)
        assert np.array_equal(split.images().numpy(), expected)
        assert split.labels.tolist() == labels[rows].tolist() == index["label"]
        assert index["sample_id"] == list(range(len(split)))
        assert index["sha256"][5] == hashlib.sha256(expected[5].tobytes()).hexdigest()
    for digit in range(10):
        count = int((labels == digit).sum())
        assert int((dataset.test.labels == digit).sum()) == round(0.2 * count)


def test_facts_and_normalization(tmp_path: Path) -> None:
    uri = ingest(IngestConfig(), str(tmp_path))
    artifact, dataset = open_artifact(uri, "dataset"), open_dataset(uri)
    facts = artifact.manifest.facts
    assert uri == objects.join(str(tmp_path), "datasets", "digits", dataset.fingerprint)
    assert (facts["layout"], facts["value_range"], facts["colour"], facts["resolution"]) == ("CHW", [0, 255], "grey", [8, 8])
    assert (facts["train_images"], facts["test_images"], facts["classes"]) == (len(dataset.train), len(dataset.test), 10)
    assert facts["images_per_class"]["train"] == torch.bincount(dataset.train.labels).tolist()
    images = dataset.train.images().double() / 255
    assert dataset.mean == pytest.approx([images.mean().item()])
    assert dataset.std == pytest.approx([images.std(correction=0).item()])
    batch = dataset.train.batch()
    assert batch.dtype == torch.float32
    assert torch.allclose(batch, ((images - dataset.mean[0]) / dataset.std[0]).float(), atol=1e-6)


def test_the_split_follows_its_seed_and_share(tmp_path: Path) -> None:
    one, two, third = (open_dataset(ingest(config, str(tmp_path))) for config in (
        IngestConfig(), IngestConfig(split_seed=1), IngestConfig(test_fraction=0.5)
    ))  # fmt: skip
    assert len({one.fingerprint, two.fingerprint, third.fingerprint}) == 3
    assert len(one.train) == len(two.train)
    assert abs(len(third.test) - 1797 / 2) <= 5


@pytest.mark.parametrize("bounds", [{"THREADS": 1}, {"THREADS": 5}, {"SHARD_BYTES": shards.HEADER_BYTES + 200}])
def test_bytes_do_not_depend_on_threads_and_the_fingerprint_not_on_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_folder: WriteFolder, pets: Any, bounds: dict[str, int]
) -> None:
    root = write_folder(pets)
    first = open_artifact(ingest(folder(root), str(tmp_path / "one")), "dataset")
    for name, value in bounds.items():
        monkeypatch.setattr(convert if name == "THREADS" else shards, name, value)
    second = open_artifact(ingest(folder(root), str(tmp_path / "two")), "dataset")
    assert first.fact("fingerprint") == second.fact("fingerprint")
    if "SHARD_BYTES" in bounds:
        assert second.fact("shard_rows")["train"] == [2, 2, 2]
    else:
        assert first.manifest.files == second.manifest.files


def test_the_fingerprint_follows_every_pixel_label_and_name(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    def print_of(files: dict[str, Any], name: str) -> str:
        root = write_folder(files).rename(tmp_path / name)
        return open_dataset(ingest(folder(root), str(tmp_path / "store"))).fingerprint

    changed = {**pets, "test/dog/1.png": pets["test/dog/1.png"] ^ (np.indices((6, 5, 3)).sum(0) == 11).astype(np.uint8)}
    renamed = {name.replace("dog", "fox"): value for name, value in pets.items()}
    swapped = {name.replace("cat", "?").replace("dog", "cat").replace("?", "dog"): value for name, value in pets.items()}
    prints = [print_of(files, f"set{number}") for number, files in enumerate((pets, changed, renamed, swapped, dict(pets)))]
    assert prints[0] == prints[4]
    assert len(set(prints)) == 4


def test_a_second_ingestion_does_not_decode(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root = write_folder(pets)
    uri = ingest(folder(root), str(tmp_path / "store"))
    counter = Counter()
    assert ingest(folder(root), str(tmp_path / "store"), counter) == uri
    assert counter.calls == []
    path = root / "train/cat/0.png"
    facts = path.stat()
    path.write_bytes(b"x" * facts.st_size)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # only the change time tells
    with pytest.raises(DataError, match=r"train/cat/0\.png: not an image"):
        ingest(folder(root), str(tmp_path / "store"))


def test_a_deleted_store_is_made_again_and_a_damaged_one_is_named(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root, store = write_folder(pets), str(tmp_path / "store")
    uri = ingest(folder(root), store)
    objects.delete(uri)
    assert ingest(folder(root), store) == uri
    os.truncate(Path(uri) / "train-00000.arrow", 100)
    for act in (lambda: ingest(folder(root), store), lambda: open_dataset(uri)):
        with pytest.raises(DamagedArtifact, match=r"train-00000\.arrow has 100 bytes"):
            act()


def test_damage_of_the_same_size_is_found_before_images_are_used(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    uri = ingest(folder(write_folder(pets)), str(tmp_path / "store"))
    shard = Path(uri) / "test-00000.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    dataset = open_dataset(uri)
    assert len(dataset.train.images()) == 6
    with pytest.raises(DamagedArtifact, match=r"test-00000\.arrow"):
        dataset.test.images()


@pytest.mark.parametrize("color", ["auto", "gray", "rgb"])
def test_color_of_gray_and_mixed_sets(tmp_path: Path, write_folder: WriteFolder, pixels: Any, color: Any) -> None:
    gray = {f"train/{kind}/{i}.png": pixels(4, 4, seed=i) for kind in ("a", "b") for i in range(3)} | {
        f"test/{kind}/0.png": pixels(4, 4, seed=9) for kind in ("a", "b")
    }
    store = str(tmp_path / "store")
    dataset = open_dataset(ingest(folder(write_folder(gray), color=color), store))
    assert dataset.shape[0] == (3 if color == "rgb" else 1)
    assert torch.equal(dataset.train.images()[1, -1], torch.from_numpy(gray["train/a/1.png"]))
    # the very last picture is the only one in color: what was stored before must be widened
    last = pixels(4, 4, 3, seed=5)
    mixed = open_dataset(ingest(folder(write_folder({"test/b/0.png": last}), color=color), store))
    assert mixed.shape[0] == (1 if color == "gray" else 3)
    assert torch.equal(mixed.train.images()[4], torch.from_numpy(gray["train/b/1.png"]).expand(mixed.shape))
    if color != "gray":
        assert torch.equal(mixed.test.images()[1], torch.from_numpy(last).permute(2, 0, 1))


def test_resolution_brings_all_sizes_to_one(tmp_path: Path, write_folder: WriteFolder, pets: Any, pixels: Any) -> None:
    root = write_folder({**pets, "train/dog/1.png": pixels(9, 20, 3)})
    with pytest.raises(DataError) as caught:
        ingest(folder(root), str(tmp_path / "store"))
    message = str(caught.value)
    assert "train/cat/0.png is 5 x 6" in message
    assert "train/dog/1.png is 20 x 9" in message
    assert "ingest.resolution" in message
    dataset = open_dataset(ingest(folder(root, resolution=4), str(tmp_path / "store")))
    assert dataset.shape == (3, 4, 4)


def test_all_corrupt_files_are_listed(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    broken: dict[str, bytes] = {f"train/cat/bad{i:02d}.png": b"no picture" for i in range(13)}
    broken |= {"test/dog/empty.png": b""}
    root = write_folder({**pets, **broken})
    with pytest.raises(DataError) as caught:
        ingest(folder(root), str(tmp_path / "store"))
    problem, _, listed = str(caught.value).partition(" (")
    assert problem.endswith("14 images cannot be used")
    item, more = listed.split("; ")
    names, _, reason = item.partition(": ")
    assert names.split(", ") == [f"train/cat/bad{i:02d}.png" for i in range(10)]
    assert reason == f"not an image in a known format ({', '.join(FORMATS)})", "said once"
    assert more == "and 4 more): repair or remove them, or set ingest.on_corrupt to skip"
    assert not (tmp_path / "store/datasets").exists(), "nothing is published"


def test_skipping_leaves_a_ledger_and_dense_ids(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    whole = open_dataset(ingest(folder(write_folder(pets)), str(tmp_path / "clean")))
    root = write_folder({"train/cat/00.png": b"", "test/dog/zz.png": b"no picture"})
    dataset = open_recorded(read_source(folder(root, on_corrupt="skip"), str(tmp_path / "store")))
    assert dataset.record is not None
    assert dataset.record.artifact.fact("skipped") == {"train": 1, "test": 1}
    assert dataset.record.lines()[1:] == [f"2 files skipped, listed with the reasons in {dataset.record.artifact.uri}/ledger.json"]
    assert json.loads(dataset.record.artifact.read("ledger.json")) == [
        {"split": "train", "origin": "train/cat/00.png", "reason": "empty file"},
        {"split": "test", "origin": "test/dog/zz.png", "reason": f"not an image in a known format ({', '.join(FORMATS)})"},
    ]
    assert dataset.train.index()["sample_id"].to_pylist() == list(range(6))
    assert dataset.fingerprint == whole.fingerprint, "the fingerprint knows only what was kept"


def test_what_is_held_out_does_not_depend_on_skipped_pictures(tmp_path: Path, write_folder: WriteFolder, pixels: Any) -> None:
    root = write_folder({f"{kind}/{i}.png": pixels(4, 4, seed=i) for kind in "ab" for i in range(1, 9)})
    clean = open_dataset(ingest(folder(root), str(tmp_path / "store")))
    write_folder({f"a/0{i}.png": b"" for i in range(5)})
    again = open_dataset(ingest(folder(root, on_corrupt="skip"), str(tmp_path / "store")))
    assert again.uri == clean.uri
    write_folder({f"b/{i}.png": b"" for i in range(1, 8)})
    with pytest.raises(DataError, match="class 'b' has 1 image"):
        ingest(folder(root, on_corrupt="skip"), str(tmp_path / "store"))


def test_skipping_must_not_empty_a_class(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    root = write_folder({**pets, "test/dog/0.png": b"", "test/dog/1.png": b""})
    with pytest.raises(DataError, match="no decodable test image of class 'dog'"):
        ingest(folder(root, on_corrupt="skip"), str(tmp_path / "store"))


def test_storage_is_checked_before_work_starts(tmp_path: Path, write_folder: WriteFolder, pets: Any) -> None:
    blocked = tmp_path / "store"
    blocked.write_text("a file where the root should be")
    counter = Counter()
    with pytest.raises(StorageError):
        ingest(folder(write_folder(pets)), str(blocked), counter)
    assert counter.calls == []
