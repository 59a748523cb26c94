"""Parquet in the Hugging Face layout, written as CIFAR-10 is: struct images, integer labels, names in the metadata."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from bilp.config import IngestConfig
from bilp.data import Dataset, open_recorded, read_source
from bilp.errors import DataError

WriteParquet = Callable[..., None]
NAMES = ("plane", "car", "bird")


def load(root: Path, **settings: Any) -> Dataset:
    return open_recorded(read_source(IngestConfig(source="parquet", uri=str(root), **settings), str(root.parent / "store")))


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def encoded(pixels: Any, count: int, start: int = 0) -> tuple[list[np.ndarray], list[bytes]]:
    arrays = [pixels(8, 8, 3, seed=start + number) for number in range(count)]
    return arrays, [png(array) for array in arrays]


def test_several_files_in_order(tmp_path: Path, pixels: Any, write_parquet: WriteParquet) -> None:
    root = tmp_path / "tiny"
    arrays, images = encoded(pixels, 150)
    labels = [number % 3 for number in range(150)]
    write_parquet(root / "train-00000-of-00002.parquet", images[:70], labels[:70], NAMES)
    write_parquet(root / "train-00001-of-00002.parquet", images[70:], labels[70:], NAMES)
    write_parquet(root / "test-00000-of-00001.parquet", images[:3], labels[:3], NAMES)
    dataset = load(root)
    assert (dataset.name, dataset.class_names, dataset.shape) == ("tiny", NAMES, (3, 8, 8))
    assert torch.equal(dataset.train.images(), torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2))
    assert dataset.train.labels.tolist() == labels
    origins = dataset.origins("train")
    assert (origins[0], origins[69], origins[70]) == (
        "train-00000-of-00002.parquet#0",
        "train-00000-of-00002.parquet#69",
        "train-00001-of-00002.parquet#0",
    )


@pytest.mark.parametrize("layout", ["image", "img", "plain"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
def test_columns_are_found(tmp_path: Path, pixels: Any, write_parquet: WriteParquet, layout: str, label: str) -> None:
    root = tmp_path / "tiny"
    _, images = encoded(pixels, 4)
    options = {"image_column": "image" if layout == "plain" else layout, "label_column": label, "plain": layout == "plain"}
    write_parquet(root / "data/train.parquet", images, [0, 1, 1, 0], ("a", "b"), **options)
    write_parquet(root / "data/validation.parquet", images[:2], [1, 0], ("a", "b"), **options)
    dataset = load(root)
    assert dataset.train.labels.tolist() == [0, 1, 1, 0]
    assert dataset.test.labels.tolist() == [1, 0]


def test_numbers_without_names_and_strings(tmp_path: Path, pixels: Any, write_parquet: WriteParquet) -> None:
    _, images = encoded(pixels, 4)
    numbers, strings, coded = (tmp_path / name for name in ("numbers", "strings", "coded"))
    write_parquet(numbers / "train-0.parquet", images, [217, 0, 217, 0])
    write_parquet(numbers / "test-0.parquet", images[:2], [0, 217])
    assert load(numbers).class_names == ("0", "217")
    assert load(numbers).train.labels.tolist() == [1, 0, 1, 0]
    for root, kind in ((strings, pa.large_string()), (coded, pa.dictionary(pa.int8(), pa.string()))):
        write_parquet(root / "train-0.parquet", images, pa.array(["dog", "cat", "dog", "cat"]).cast(kind))
        dataset = load(root, test_fraction=0.5)
        assert dataset.class_names == ("cat", "dog")
        assert sorted(dataset.train.labels.tolist() + dataset.test.labels.tolist()) == [0, 0, 1, 1]


def test_rows_without_bytes_and_broken_pictures(tmp_path: Path, pixels: Any, write_parquet: WriteParquet) -> None:
    root = tmp_path / "tiny"
    _, images = encoded(pixels, 4)
    write_parquet(root / "train-0.parquet", [*images, None, b"junk"], [0, 1, 0, 1, 0, 1], ("a", "b"))
    with pytest.raises(DataError) as caught:
        load(root)
    assert "train-0.parquet#4: the row holds no bytes" in str(caught.value)
    assert "train-0.parquet#5: not an image" in str(caught.value)
    dataset = load(root, on_corrupt="skip")
    assert len(dataset.train) + len(dataset.test) == 4


def test_a_second_ingestion_does_not_open_the_file(tmp_path: Path, pixels: Any, write_parquet: WriteParquet) -> None:
    root = tmp_path / "tiny"
    path = root / "train-0.parquet"
    write_parquet(path, encoded(pixels, 6)[1], [0, 1] * 3, ("a", "b"))
    before = load(root)
    facts = path.stat()
    path.write_bytes(b"x" * facts.st_size)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert load(root).uri == before.uri
    os.utime(path)
    with pytest.raises(DataError, match=r"train-0\.parquet: is not a readable Parquet file"):
        load(root)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 2, 0], ("a", "b"), r"label 2 of image 2 is outside 0\.\.1"),
        ([0, 1, -1, 0], ("a", "b"), r"label -1 of image 2 .* without a label"),
        ([0, 1, -1, 0], None, r"train has label -1"),
        ([0, None, 1, 0], ("a", "b"), r"label of row 1 is null \(1 such rows\)"),
        ([0.0, 1.0, 1.0, 0.0], None, r"labels in column 'label' are double: use integers or strings"),
        ([0, 0, 0, 0], ("a", "b"), r"no training images of 'b'"),
        (["cat", "Cat", "cat", "Cat"], None, r"duplicate class names 'Cat', 'cat'"),
        ([0, 1, 1, 0], ("cat", "CAT"), r"duplicate class names"),
        ([0, 0, 0, 1], ("a", "b"), r"class 'b' has 1 image"),
    ],
)
def test_labels_that_are_refused(
    tmp_path: Path, pixels: Any, write_parquet: WriteParquet, labels: list[Any], names: tuple[str, ...] | None, message: str
) -> None:
    root = tmp_path / "tiny"
    write_parquet(root / "train-0.parquet", encoded(pixels, 4)[1], labels, names)
    with pytest.raises(DataError, match=message):
        load(root)


def test_files_that_are_refused(tmp_path: Path, pixels: Any, write_parquet: WriteParquet) -> None:
    _, images = encoded(pixels, 4)
    empty, strange, unlabelled, no_rows, differing, mixed = (tmp_path / f"set{number}" for number in range(6))
    empty.mkdir()
    with pytest.raises(DataError, match=r"expected train-\*\.parquet .* found no Parquet files"):
        load(empty)
    write_parquet(empty / "test-0.parquet", images, [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"no training images: .* found test-0\.parquet"):
        load(empty)
    write_parquet(strange / "train-0.parquet", images, [0, 1, 0, 1], image_column="picture")
    with pytest.raises(DataError, match=r"no image column: .* found picture: struct"):
        load(strange)
    write_parquet(unlabelled / "train-0.parquet", images, [0, 1, 0, 1], label_column="target")
    with pytest.raises(DataError, match=r"no label column: .* target: int64"):
        load(unlabelled)
    write_parquet(no_rows / "train-0.parquet", [], pa.array([], pa.int64()), ("a", "b"))
    with pytest.raises(DataError, match="no training images"):
        load(no_rows)
    write_parquet(differing / "train-0.parquet", images, [0, 1, 0, 1])
    write_parquet(differing / "test-0.parquet", images, [0, 2, 0, 2])
    with pytest.raises(DataError, match="only in train: '1'; only in test: '2'"):
        load(differing)
    write_parquet(mixed / "train-0.parquet", images, [0, 1, 0, 1])
    write_parquet(mixed / "train-1.parquet", images, ["0", "1", "0", "1"])
    with pytest.raises(DataError, match="mix integer and string labels"):
        load(mixed)


def test_files_that_contradict_each_other(tmp_path: Path, pixels: Any, write_parquet: WriteParquet) -> None:
    root = tmp_path / "tiny"
    _, images = encoded(pixels, 4)
    write_parquet(root / "train-0.parquet", images, [0, 1, 0, 1], ("a", "b"))
    write_parquet(root / "test-0.parquet", images, [0, 1, 0, 1], ("b", "a"))
    with pytest.raises(DataError, match=r"test-0\.parquet and train-0\.parquet state different class names"):
        load(root)
    write_parquet(root / "test-0.parquet", images, ["a", "b", "a", "b"])
    with pytest.raises(DataError, match=r"labels of different kinds \(int64 and string\)"):
        load(root)


def test_damage_between_pages_is_named(tmp_path: Path, write_parquet: WriteParquet, pixels: Any) -> None:
    root = tmp_path / "tiny"
    path = root / "train-0.parquet"
    write_parquet(path, encoded(pixels, 20)[1], [0, 1] * 10, ("a", "b"))
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * 200 + data[204:])
    with pytest.raises(DataError, match=r"train-0\.parquet: is not a readable Parquet file"):
        load(root)


def test_metadata_that_describe_something_else(tmp_path: Path, pixels: Any) -> None:
    root = tmp_path / "tiny"
    root.mkdir()
    table = pa.table({"image": encoded(pixels, 4)[1], "label": [0, 1, 0, 1]}).replace_schema_metadata({"huggingface": "{}"})
    pq.write_table(table, root / "train-0.parquet")
    with pytest.raises(DataError, match="huggingface metadata does not describe column 'label'"):
        load(root)
