"""Images with equal pixels: counted, told, dropped by stated rules, and on one side of a split that is made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.config import IngestConfig
from bilp.data import Dataset, open_recorded, read_source
from bilp.data.splitting import held_out
from bilp.errors import DataError

WriteFolder = Callable[[Any], Path]


def load(root: Path, **settings: Any) -> Dataset:
    return open_recorded(read_source(IngestConfig(source="folder", uri=str(root), **settings), str(root.parent / "store")))


def lines(dataset: Dataset) -> list[str]:
    """What was noticed, behind where the source found its classes."""
    assert dataset.record is not None
    first, *others = dataset.record.lines()
    assert first.startswith("the classes of the training images are in ")
    return others


@pytest.fixture
def leaky(write_folder: WriteFolder, pixels: Any) -> Path:
    """Cats 0 and 1 are in train and test, cat 0 also among the dogs, dog 3 twice among the dogs, and a test dog twice."""
    files = {f"train/{kind}/{i}.png": pixels(4, 4, 3, seed=10 * k + i) for k, kind in enumerate(("cat", "dog")) for i in range(5)}
    files |= {f"test/{kind}/{i}.png": pixels(4, 4, 3, seed=100 + 10 * k + i) for k, kind in enumerate(("cat", "dog")) for i in range(3)}
    files |= {"test/cat/a.png": files["train/cat/0.png"], "test/cat/b.png": files["train/cat/1.png"]}
    files |= {"train/dog/9.png": files["train/cat/0.png"], "train/dog/7.png": files["train/dog/3.png"]}
    files |= {"test/dog/8.png": files["test/dog/2.png"]}
    return write_folder(files)


def test_duplicates_are_counted_told_and_listed(leaky: Path) -> None:
    dataset = load(leaky)
    assert (len(dataset.train), len(dataset.test)) == (12, 9), "all are kept"
    assert lines(dataset) == [
        "1 training image and 1 test image with the pixels of an earlier one of the same class",
        "1 image with more than one label (3 copies), such as train/cat/0.png and train/dog/9.png",
        "2 test images with the pixels of a training image",
        "duplicates kept; ingest.duplicates drop would leave out 4 training images and 2 test images",
    ]
    assert dataset.record is not None
    table = pq.read_table(f"{dataset.record.artifact.uri}/duplicates.parquet").to_pydict()
    assert list(zip(table["split"], table["class"], table["origin"], strict=True)) == [
        ("train", "cat", "train/cat/0.png"),
        ("train", "dog", "train/dog/9.png"),
        ("test", "cat", "test/cat/a.png"),
        ("train", "cat", "train/cat/1.png"),
        ("test", "cat", "test/cat/b.png"),
        ("train", "dog", "train/dog/3.png"),
        ("train", "dog", "train/dog/7.png"),
        ("test", "dog", "test/dog/2.png"),
        ("test", "dog", "test/dog/8.png"),
    ]
    assert all(table["kept"])
    assert table["sha256"][3] == dataset.train.index()["sha256"][1].as_py()


def test_drop_leaves_one_of_each_and_nothing_ambiguous(leaky: Path) -> None:
    dataset = load(leaky, duplicates="drop")
    assert dataset.origins("train") == [f"train/cat/{i}.png" for i in (2, 3, 4)] + [f"train/dog/{i}.png" for i in (0, 1, 2, 3, 4)]
    assert dataset.origins("test") == [f"test/cat/{i}.png" for i in "012b"] + [f"test/dog/{i}.png" for i in (0, 1, 2)]
    assert lines(dataset)[-1] == "duplicates dropped: 4 training images and 2 test images"
    digests = [digest for split in (dataset.train, dataset.test) for digest in split.index()["sha256"].to_pylist()]
    assert len(set(digests)) == len(digests) == 15
    kept = load(leaky)
    place = {origin: row for row, origin in enumerate(kept.origins("train"))}
    assert np.array_equal(dataset.train.images(), kept.train.images()[[place[origin] for origin in dataset.origins("train")]])
    assert dataset.mean != kept.mean, "constants are measured on what was kept"


def test_without_duplicates_nothing_is_said_and_drop_changes_nothing(write_folder: WriteFolder, pets: Any) -> None:
    root = write_folder(pets)
    kept, dropped = load(root), load(root, duplicates="drop")
    assert (kept.uri, lines(kept)) == (dropped.uri, lines(dropped)) == (kept.uri, [])
    assert kept.record is not None and list(kept.record.artifact.manifest.files) == ["test.parquet", "train.parquet"]


def test_dropping_must_not_empty_a_class(write_folder: WriteFolder, pets: Any) -> None:
    copies = {name.replace("train/dog", "test/dog").replace("dog/", "dog/x"): value for name, value in pets.items() if "train/dog" in name}
    with pytest.raises(DataError, match="dropping duplicates leaves no train image of class 'dog' .* set ingest.duplicates to keep"):
        load(write_folder({**pets, **copies}), duplicates="drop")


def test_a_split_made_here_keeps_equal_pictures_on_one_side(write_folder: WriteFolder, pixels: Any) -> None:
    root = write_folder({f"{kind}/{i}.png": pixels(4, 4, seed=100 * k + i // 2) for k, kind in enumerate("ab") for i in range(20)})
    for seed in range(4):
        dataset = load(root, split_seed=seed)
        sides = [set(split.index()["sha256"].to_pylist()) for split in (dataset.train, dataset.test)]
        assert not sides[0] & sides[1]
        assert dataset.test.labels.tolist() == [0] * 4 + [1] * 4, "and has the share that was asked for"
    assert lines(dataset) == [
        "20 images with the pixels of an earlier one of the same class",
        "duplicates kept, equal ones on one side of the split; ingest.duplicates drop would leave out 20 images",
    ]
    dropped = load(root, duplicates="drop")
    assert (len(dropped.train), len(dropped.test)) == (16, 4)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 11)), min_size=8, max_size=60), st.floats(0.05, 0.6), st.integers(0, 9))
def test_equal_pictures_are_never_parted(images: list[tuple[int, int]], fraction: float, seed: int) -> None:
    labels = np.array([0, 0, 1, 1, 2, 2] + [label for label, _ in images])
    pictures = np.array([100, 101, 102, 103, 104, 105] + [picture for _, picture in images])
    mask = held_out(labels, ["a", "b", "c"], fraction, seed, "here", pictures)
    assert not set(pictures[mask]) & set(pictures[~mask])
    for label in range(3):
        count, held = int((labels == label).sum()), int(mask[labels == label].sum())
        assert 1 <= held <= min(max(round(fraction * count), 1), count - 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_where_all_pictures_differ_the_split_is_that_of_the_labels_alone(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [str(number) for number in range(len(counts))]
    different = np.random.default_rng(seed).permutation(len(labels))
    assert np.array_equal(held_out(labels, names, fraction, seed, "x"), held_out(labels, names, fraction, seed, "x", different))


def test_a_class_of_large_sets_gives_the_smallest_and_one_of_a_single_picture_is_refused() -> None:
    labels = np.zeros(9, dtype=np.int64)
    mask = held_out(labels, ["a"], 0.1, 0, "here", np.array([0, 0, 0, 0, 1, 1, 1, 2, 2]))
    assert mask.tolist() == [False] * 7 + [True] * 2
    with pytest.raises(DataError, match="here: class 'a' has too few different images to make a test split"):
        held_out(labels, ["a"], 0.1, 0, "here", np.zeros(9, dtype=np.int64))
