"""Parquet in the Hugging Face layout, written as CIFAR-10 is: struct images, integer labels, names in the metadata."""

from __future__ import annotations

import io
import json
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
from bilp.errors import BilpError, DataError

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
    assert load(root).uri == before.uri
    facts = path.stat()
    path.write_bytes(b"x" * facts.st_size)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # only the change time tells
    with pytest.raises(DataError, match=r"train-0\.parquet: is not a readable Parquet file"):
        load(root)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 2, 0], ("a", "b"), r"label 2 of row 2 is outside 0\.\.1"),
        ([0, 1, -1, 0], ("a", "b"), r"label -1 of row 2 .* without a label"),
        ([0, 1, -1, 0], None, r"label -1 of row 2"),
        ([0, None, 1, 0], ("a", "b"), r"row 1 has no label \(1 such rows\)"),
        ([0.0, 1.0, 1.5, 0.0], None, r"labels in column 'label' are double, and not all are integers"),
        (["cat", "cat ", "cat", "cat "], None, r"duplicate class names 'cat', 'cat '"),
        ([0, 1, 1, 0], ("cat", " cat"), r"duplicate class names"),
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


def test_files_that_mix_kinds_of_labels(tmp_path: Path, pixels: Any, write_parquet: WriteParquet) -> None:
    _, images = encoded(pixels, 4)
    write_parquet(tmp_path / "mixed/train-0.parquet", images, [0, 1, 0, 1])
    write_parquet(tmp_path / "mixed/train-1.parquet", images, ["0", "1", "0", "1"])
    with pytest.raises(DataError, match=r"numbers in train-0\.parquet and text in train-1\.parquet"):
        load(tmp_path / "mixed")


def test_damage_between_pages_is_named(tmp_path: Path, write_parquet: WriteParquet, pixels: Any) -> None:
    root = tmp_path / "tiny"
    path = root / "train-0.parquet"
    write_parquet(path, encoded(pixels, 20)[1], [0, 1] * 10, ("a", "b"))
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * 200 + data[204:])
    with pytest.raises(DataError, match=r"train-0\.parquet: is not a readable Parquet file"):
        load(root)


@pytest.mark.parametrize(
    "features",
    [
        {"label": {"_type": "ClassLabel", "names": {"1": "dog", "0": "cow"}}},
        {"label": {"dtype": {"class_label": {"names": {"0": "cow", "1": "dog"}}}}},
        [{"name": "img"}, {"name": "label", "dtype": {"class_label": {"names": {"0": "cow", "1": "dog"}}}}, 7],
    ],
    ids=["numbers and names", "within its type", "as in a card"],
)
def test_other_forms_in_which_metadata_name_the_classes(tmp_path: Path, pixels: Any, features: Any) -> None:
    root = tmp_path / "tiny"
    root.mkdir()
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": encoded(pixels, 4)[1], "label": [1, 0, 1, 0]}).replace_schema_metadata(metadata)
    pq.write_table(table, root / "train-0.parquet")
    assert load(root).class_names == ("cow", "dog")


@pytest.mark.parametrize("metadata", ["{}", "no JSON", '{"info": {"features": 7}}', '{"info": {"features": {"label": {"names": 7}}}}'])
def test_metadata_that_describe_something_else(tmp_path: Path, pixels: Any, metadata: str) -> None:
    root = tmp_path / "tiny"
    root.mkdir()
    table = pa.table({"image": encoded(pixels, 4)[1], "label": [0, 1, 0, 1]}).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, root / "train-0.parquet")
    assert load(root).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n", r"is a pointer of Git LFS, .* `git lfs pull`"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", r"is a web page, not a Parquet file"),
        (b"PAR1" + b"\0" * 500, r"is cut off after 504 bytes"),
        (b"image,label\na.png,0\n", r"is not a readable Parquet file"),
    ],
)
def test_what_arrives_in_place_of_a_file(tmp_path: Path, content: bytes, message: str) -> None:
    root = tmp_path / "tiny"
    root.mkdir()
    (root / "train-0.parquet").write_bytes(content)
    with pytest.raises(DataError, match=rf"train-0\.parquet: {message}.*") as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    root.mkdir()
    (root / "train-0.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BilpError, match=r"train-0\.parquet: nothing lies there"):
        load(root)


def test_file_names_that_are_no_utf8(tmp_path: Path, pixels: Any, write_parquet: WriteParquet) -> None:
    root = tmp_path / "tiny"
    write_parquet(root / "train-0.parquet", encoded(pixels, 6)[1], [0, 1] * 3, ("a", "b"))
    (root / "train").mkdir()
    (root / "train-0.parquet").rename(root / "train" / os.fsdecode(b"caf\xe9.parquet"))
    dataset = load(root, test_fraction=0.4)
    assert dataset.origins("train")[0].startswith("train/caf\\xe9.parquet#")
    assert len(dataset.train) == 4


def test_rows_with_a_path_in_place_of_an_image(tmp_path: Path, pixels: Any) -> None:
    root = tmp_path / "tiny"
    root.mkdir()
    rows = [{"bytes": data, "path": None} for data in encoded(pixels, 5)[1]] + [{"bytes": None, "path": "/x/5.png"}, None]
    table = pa.table({"image": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), "label": [0, 1, 0, 1, 0, 1, 1]})
    pq.write_table(table, root / "train-0.parquet", row_group_size=3)
    with pytest.raises(DataError) as caught:
        load(root)
    assert "train-0.parquet#5: the row holds no bytes, only the path /x/5.png" in str(caught.value)
    assert "train-0.parquet#6: the row holds no bytes" in str(caught.value)
    dataset = load(root, on_corrupt="skip")
    assert sorted(dataset.train.labels.tolist() + dataset.test.labels.tolist()) == [0, 0, 0, 1, 1]
