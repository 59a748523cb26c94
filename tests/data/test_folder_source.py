"""Image folders: layouts, order, and every error with its path and remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bilp.config import IngestConfig
from bilp.data import Dataset, open_recorded, read_source
from bilp.data.opening import DecodeError
from bilp.data.reading import read_picture
from bilp.data.sources.folder.source import ImageFolder
from bilp.errors import DataError

WriteFolder = Callable[[Any], Path]
TINY = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def load(root: Path | str, **settings: Any) -> Dataset:
    base = Path(str(root).removeprefix("file://"))
    return open_recorded(read_source(IngestConfig(source="folder", uri=str(root), **settings), str(base.parent / "store")))


@pytest.mark.parametrize("test", ["test", "val", "validation"])
def test_train_and_test_directories(write_folder: WriteFolder, pets: Any, test: str) -> None:
    files = {name.replace("test/", f"{test}/"): value for name, value in pets.items()}
    dataset = load(write_folder(files))
    assert dataset.name == "pets"
    assert dataset.class_names == ("cat", "dog")
    assert dataset.origins("train") == [f"train/{kind}/{i}.png" for kind in ("cat", "dog") for i in range(3)]
    assert dataset.origins("test") == [f"{test}/{kind}/{i}.png" for kind in ("cat", "dog") for i in range(2)]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(dataset.train.images()[4], torch.from_numpy(pets["train/dog/1.png"]).permute(2, 0, 1))


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_without_a_test_directory_a_split_is_held_out(write_folder: WriteFolder, pixels: Any, prefix: str) -> None:
    files = {f"{prefix}{kind}/{i}.png": pixels(4, 4, 3, seed=i) for kind in "ab" for i in range(10)}
    dataset = load(write_folder(files), test_fraction=0.3)
    assert torch.bincount(dataset.test.labels).tolist() == [3, 3]
    together = dataset.origins("train") + dataset.origins("test")
    assert sorted(together) == sorted(files)


def test_a_file_uri_and_odd_names(write_folder: WriteFolder) -> None:
    root = write_folder({f"{split}/50%20 off#?/ü {i}.png": TINY + i for split in ("train", "test") for i in range(2)})
    dataset = load(f"file://{root}")
    assert dataset.class_names == ("50%20 off#?",)
    assert dataset.origins("train") == ["train/50%20 off#?/ü 0.png", "train/50%20 off#?/ü 1.png"]


def test_nested_files_links_and_what_file_managers_leave(write_folder: WriteFolder, tmp_path: Path) -> None:
    root = write_folder(
        {
            "train/a/deep/er/1.png": TINY,
            "train/a/.DS_Store": b"x",
            "train/a/Thumbs.db": b"x",
            "train/.git/config": b"x",
            "train/list.csv": b"x",
        }
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / "train/a/deep/er/1.png").rename(elsewhere / "2.png")
    write_folder({"train/a/deep/er/1.png": TINY + 1})
    (root / "train/b").symlink_to(elsewhere)
    (root / "train/a/deep/loop").symlink_to(root / "train/a")
    (root / "test").symlink_to(root / "train")
    dataset = load(root)
    assert dataset.class_names == ("a", "b")
    assert dataset.origins("train") == ["train/a/deep/er/1.png", "train/b/2.png"]
    assert len(dataset.test) == 2


def test_files_that_cannot_be_read_are_listed_at_once_or_skipped_like_damaged_ones(write_folder: WriteFolder, pixels: Any) -> None:
    root = write_folder({f"{kind}/{i}.png": pixels(4, 4, 3, seed=i) for kind in "ab" for i in range(4)} | {"a/x.png": b"no image"})
    (root / "a/gone.png").symlink_to("/nowhere/x.png")
    (root / "a/circle.png").symlink_to(root / "a/circle.png")
    os.mkfifo(root / "b/pipe.png")  # reading it would wait for ever
    with pytest.raises(DataError, match="4 images cannot be used") as caught:
        load(root)
    listed = str(caught.value).partition(" (")[2].rpartition("): ")[0]
    reasons = dict(item.split(": ", 1) for item in listed.split("; "))
    assert set(reasons) == {"a/gone.png", "a/circle.png", "a/x.png", "b/pipe.png"}
    assert reasons["a/gone.png"] == "a link to /nowhere/x.png, which cannot be reached (No such file or directory)"
    assert reasons["b/pipe.png"] == "a device, pipe or socket, not a file"
    dataset = load(root, on_corrupt="skip")
    assert dataset.record is not None
    ledger = json.loads(dataset.record.artifact.read("ledger.json"))
    assert {entry["origin"]: entry["reason"] for entry in ledger} == reasons
    assert len(dataset.train) + len(dataset.test) == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_skipped_like_a_damaged_one(write_folder: WriteFolder, pets: Any) -> None:
    root = write_folder(pets)
    (root / "train/cat/0.png").chmod(0)
    with pytest.raises(DataError, match=r"train/cat/0\.png: may not be read by this user"):
        load(root)
    assert len(load(root, on_corrupt="skip").train) == 5


def test_a_file_that_vanishes_while_it_is_read_is_listed(write_folder: WriteFolder, pets: Any) -> None:
    root = write_folder(pets)
    source = ImageFolder(IngestConfig(source="folder", uri=str(root)))
    groups = list(source.groups(source.read().items["train"]))
    (root / "train/cat/0.png").unlink()
    with pytest.raises(DecodeError, match="nothing lies there"):
        read_picture(groups[0].images[0])


def test_another_file_of_the_same_size_and_time_is_another_source(write_folder: WriteFolder, pets: Any) -> None:
    """What `cp -p`, `rsync -t` and unpacked archives leave: as a new file, and in place of the old bytes."""
    root = write_folder(pets)
    path = root / "train/cat/1.png"
    signatures = [ImageFolder(IngestConfig(source="folder", uri=str(root))).signature()]
    assert ImageFolder(IngestConfig(source="folder", uri=str(root))).signature() == signatures[0]
    facts = path.stat()
    for renamed in (True, False):
        target = root.parent / "new.png" if renamed else path
        target.write_bytes(b"x" * facts.st_size)
        os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        target.rename(path)
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
        signatures.append(ImageFolder(IngestConfig(source="folder", uri=str(root))).signature())
    assert len(set(signatures)) == 3


def test_what_is_ignored_does_not_belong_to_the_source(write_folder: WriteFolder, pets: Any) -> None:
    root = write_folder(pets)
    before = ImageFolder(IngestConfig(source="folder", uri=str(root))).signature()
    write_folder({"train/cat/Thumbs.db": b"x", "__MACOSX/train/cat/._0.png": b"x", "train/Icon\r": b"x", "train/cat/@eaDir/0.png": b"x"})
    assert ImageFolder(IngestConfig(source="folder", uri=str(root))).signature() == before


def test_touching_a_file_makes_it_be_read_again(write_folder: WriteFolder, pets: Any) -> None:
    root = write_folder(pets)
    before = load(root)
    write_folder({"train/cat/1.png": TINY[:, :, ::-1].repeat(2, 0)[:6].repeat(2, 1)[:, :5]})
    os.utime(root / "train/cat/1.png", ns=(1, 1))
    assert load(root).fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no classes: it is empty; put the images"),
        ({"1.png": TINY, "2.png": TINY}, r"no classes: it holds 2 files but no directory"),
        ({"train/1.png": TINY}, r"pets/train: no classes: it holds 1 file but"),
        ({"test/a/1.png": TINY}, r"no training images: found test/ without train/"),
        ({"a/1.png": TINY, "b/1.png": TINY, "b/2.png": TINY}, r"class 'a' has 1 image, .* needs at least 2"),
        ({"train/cat/1.png": TINY, "train/cat /1.png": TINY}, r"duplicate class names 'cat', 'cat '"),
        ({"train/a/1.png": TINY, "test/b/1.png": TINY, "test/c/1.png": TINY}, r"only in train: 'a'; only in test: 'b', 'c'"),
        ({"train/a/1.png": TINY, "train/b/.keep": b"", "test/a/1.png": TINY}, r"pets/train: class 'b' is an empty directory"),
        ({"train/a/1.png": TINY, "train/b/1.png": TINY, "test/a/1.png": TINY, "test/b/.keep": b""}, r"pets/test: class 'b' is an empty"),
    ],
)
def test_what_is_no_image_folder(write_folder: WriteFolder, files: Any, message: str) -> None:
    root = write_folder(files)
    with pytest.raises(DataError, match=message) as caught:
        load(root)
    assert str(root) in str(caught.value)


def test_a_wrong_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"v\\xe4cka: the path itself is no UTF-8: rename"):
        load(tmp_path / os.fsdecode(b"v\xe4cka"))
    with pytest.raises(DataError, match="nothing lies there"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file, not a directory"):
        load(tmp_path / "file")
