"""Image folders: layouts, order, and every error with its path and remedy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bilp.config import IngestConfig
from bilp.data import Dataset, open_recorded, read_source
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
        ({"train/1.png": TINY}, r"pets/train: no classes: it holds 1 files"),
        ({"test/a/1.png": TINY}, r"no training images: found test/ without train/"),
        ({"a/1.png": TINY, "b/1.png": TINY, "b/2.png": TINY}, r"class 'a' has 1 image, .* needs at least 2"),
        ({"train/a/1.png": TINY, "train/Cat/1.png": TINY, "train/cat/1.png": TINY}, r"duplicate class names 'Cat', 'cat'"),
        ({"train/cat/1.png": TINY, "train/cat /1.png": TINY}, r"duplicate class names 'cat', 'cat '"),
        ({"train/a/1.png": TINY, "test/b/1.png": TINY}, r"only in train: 'a'; only in test: 'b'"),
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
    with pytest.raises(DataError, match="nothing lies there"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file, not a directory"):
        load(tmp_path / "file")
