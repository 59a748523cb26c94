"""Columns of images and labels in Parquet files, whatever their names and types: the right class for each image, or one clear line."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bilp.config import IngestConfig
from bilp.data import open_recorded, read_source
from bilp.data.contents import SplitName
from bilp.data.sources.parquet import HuggingFaceParquet
from bilp.data.sources.parquet.images import image_groups, table_items
from bilp.data.sources.parquet.labels import read_labels
from bilp.data.sources.parquet.tables import Table
from bilp.errors import DataError

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SIZE = 80  # of every encoded image in bytes
Read = dict[SplitName, list[tuple[int, str]]]


def picture(number: int) -> bytes:
    """An image that tells its number: all pixels have this value."""
    buffer = io.BytesIO()
    Image.new("L", (4, 4), number).save(buffer, "PNG")
    return buffer.getvalue()


def images(count: int, kind: pa.DataType = STRUCT, start: int = 0) -> pa.Array:
    """Images start, start + 1, ... as a column of any type that can hold them."""
    encoded = [picture(start + number).ljust(SIZE, b"\0") for number in range(count)]
    if pa.types.is_struct(kind):
        return pa.array([{"bytes": data, "path": f"{number}.png"} for number, data in enumerate(encoded)], kind)
    return pa.array(encoded, pa.binary()).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(encoded, kind)


def metadata(**features: Any) -> dict[str, str]:
    """What the hub writes into the schema: names of classes for a list, a kind of column for a text."""
    described = {
        name: {"_type": "ClassLabel", "names": told} if isinstance(told, list) else {"_type": told} for name, told in features.items()
    }
    return {"huggingface": json.dumps({"info": {"features": described}})}


def table(columns: Mapping[str, Any], **features: Any) -> pa.Table:
    return pa.table(dict(columns)).replace_schema_metadata(metadata(**features) if features else None)


def labeled(labels: Sequence[Any] | pa.Array, kind: pa.DataType | None = None, **features: Any) -> pa.Table:
    column = labels if isinstance(labels, pa.Array) else pa.array(labels, kind)
    return table({"image": images(len(column)), "label": column}, **features)


def put(root: Path, **tables: pa.Table) -> Path:
    root.mkdir(exist_ok=True)
    for name, content in tables.items():
        views = any("view" in str(kind) for kind in content.schema.types)  # pyarrow writes those in one group of rows alone
        pq.write_table(content, root / f"{name}.parquet", row_group_size=None if views else 5)
    return root


def read(root: Path, **settings: Any) -> tuple[tuple[str, ...], Read, tuple[str, ...]]:
    """Classes; of each split the number of every image with the name of its class; notes."""
    source = HuggingFaceParquet(IngestConfig(source="parquet", uri=str(root), **settings))
    contents = source.read()
    found: Read = {}
    for split, labels in contents.labels.items():
        numbers = [
            int(np.asarray(Image.open(io.BytesIO(load())))[0, 0]) for group in source.groups(contents.items[split]) for load in group.images
        ]
        found[split] = [(number, contents.class_names[label]) for number, label in zip(numbers, labels.tolist(), strict=True)]
    return contents.class_names, found, contents.notes


def named(names: Sequence[str]) -> list[tuple[int, str]]:
    return list(enumerate(names))


IMAGE_TYPES = {
    "struct": STRUCT,
    "large struct": pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())]),
    "view struct": pa.struct([("path", pa.string_view()), ("bytes", pa.binary_view())]),
    "bytes alone": pa.struct([("bytes", pa.binary())]),
    "binary": pa.binary(),
    "large binary": pa.large_binary(),
    "binary view": pa.binary_view(),
    "fixed size": pa.binary(SIZE),
    "dictionary": pa.dictionary(pa.int32(), pa.binary()),
}


@pytest.mark.parametrize("kind", IMAGE_TYPES)
def test_images_of_any_type_stay_with_their_labels(tmp_path: Path, kind: str) -> None:
    names = [("cat", "dog", "eel", "cat")[number * number % 7 % 4] for number in range(150)]
    root = put(tmp_path / "set", train=table({"label": names, "image": images(150, IMAGE_TYPES[kind])}))
    assert read(root) == (("cat", "dog", "eel"), {"train": named(names)}, ())
    some = [(number, name) for number, name in named(names) if name != "cat"]
    assert read(root, classes=("eel", "dog"))[:2] == (("eel", "dog"), {"train": some})


def coded(indices: list[int | None], values: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), values)


# Labels of four images, their classes, the images' classes, parts of the notes.
LABELS: dict[str, tuple[pa.Array, tuple[str, ...], list[str], list[str]]] = {
    "int8": (pa.array([3, 1, 10, 1], pa.int8()), ("1", "3", "10"), ["3", "1", "10", "1"], []),
    "uint64": (pa.array([2**40, 1, 1, 0], pa.uint64()), ("0", "1", str(2**40)), [str(2**40), "1", "1", "0"], []),
    "bool": (pa.array([True, False, True, True]), ("False", "True"), ["True", "False", "True", "True"], []),
    "float": (pa.array([2.0, 0.0, 2.0, 0.0]), ("0", "2"), ["2", "0", "2", "0"], ["all of them integers"]),
    "half": (pa.array([1, 0, 1, 0], pa.float16()), ("0", "1"), ["1", "0", "1", "0"], ["halffloat"]),
    "decimal": (pa.array([7, 5, 5, 7]).cast(pa.decimal128(20, 0)), ("5", "7"), ["7", "5", "5", "7"], ["decimal128"]),
    "text": (pa.array(["b", "a", "a", "b"]), ("a", "b"), ["b", "a", "a", "b"], []),
    "large text": (pa.array(["b", "a", "a", "b"], pa.large_string()), ("a", "b"), ["b", "a", "a", "b"], []),
    "text view": (pa.array(["b", "a", "a", "b"], pa.string_view()), ("a", "b"), ["b", "a", "a", "b"], []),
    "bytes": (pa.array([b"b", b"a", b"a", b"b"]), ("a", "b"), ["b", "a", "a", "b"], ["read as UTF-8 text"]),
    "categories": (coded([1, 0, 0, 1], pa.array(["z", "a", "unused"])), ("a", "z"), ["a", "z", "z", "a"], []),
    "coded numbers": (coded([1, 0, 0, 1], pa.array([10, 9])), ("9", "10"), ["9", "10", "10", "9"], []),
    "numbers as text": (pa.array(["2", "10", "1", "2"]), ("1", "10", "2"), ["2", "10", "1", "2"], ["'1', '10', '2' (ingest.classes"]),
    "capital letters": (pa.array(["a", "A", "A", "a"]), ("A", "a"), ["a", "A", "A", "a"], []),
    "odd text": (pa.array(["a\nb", "é", "é", "a\nb"]), ("a\\nb", "é"), ["a\\nb", "é", "é", "a\\nb"], []),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_any_type(tmp_path: Path, case: str) -> None:
    column, classes, names, told = LABELS[case]
    found, splits, notes = read(put(tmp_path / "set", train=labeled(column)))
    assert (found, splits) == (classes, {"train": named(names)})
    assert [part in note for part, note in zip(told, notes, strict=True)] == [True] * len(told), notes


def test_types_that_pyarrow_can_write_to_no_file() -> None:
    """Dictionaries of views arrive from other programs' files."""

    class Columns(Table):
        def column(self, name: str) -> pa.ChunkedArray:
            return pa.chunked_array([coded([1, None, 0], pa.array(["b", "a"], pa.string_view()))])

        def heads(self, name: str, most: int, wanted: Any) -> Any:
            yield 0, 0, coded([1, 0], pa.array([picture(5), picture(6)], pa.binary_view()))

    held = Columns("train.parquet", "train.parquet", pa.schema([]), 3, {}, (2,))
    labels = read_labels(held, "label")
    assert [None if code < 0 else labels.values[code] for code in labels.codes.tolist()] == ["a", None, "b"]
    (group,) = image_groups(held, "image", table_items(held, np.array([0, 0])))
    assert [load() for load in group.images] == [picture(6), picture(5)]


CAT_DOG = ["cat", "dog"]

# Columns beside four images of classes cat, dog, dog, cat in a table; features; settings; parts of the notes.
FOUR = [0, 1, 1, 0]
COLUMNS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str], list[str]]] = {
    "usual": ({"img": images(4), "labels": FOUR}, {"labels": CAT_DOG}, {}, []),
    "capital": ({"Image": images(4), "Label": FOUR}, {"Label": CAT_DOG}, {}, ["images: column Image is taken", "labels: column Label"]),
    "pixel_values": ({"pixel_values": images(4), "target": FOUR}, {"target": CAT_DOG}, {}, ["column pixel_values", "column target"]),
    "fine and coarse": (
        {"img": images(4), "coarse_label": [0] * 4, "fine_label": FOUR},
        {"fine_label": CAT_DOG, "coarse_label": ["pet"]},
        {},
        ["column fine_label is taken, not coarse_label"],
    ),
    "coarse alone": ({"img": images(4), "coarse_label": FOUR}, {"coarse_label": CAT_DOG}, {}, ["column coarse_label is taken"]),
    "any name": ({"photo_data": images(4), "text": FOUR}, {"text": CAT_DOG}, {}, ["photo_data is taken, the only one", "column text"]),
    "a word of the name": ({"image": images(4), "class_name": ["cat", "dog", "dog", "cat"]}, {}, {}, ["column class_name is taken"]),
    "masks": ({"image": images(4), "mask": images(4), "label": FOUR}, {"label": CAT_DOG}, {}, ["column image is taken; mask could be"]),
    "sounds": ({"photo": images(4), "sound": images(4), "label": FOUR}, {"sound": "Audio", "label": CAT_DOG}, {}, ["column photo"]),
    "hashes": (
        {"shot": images(4), "hash": [b"x"] * 4, "label": FOUR},
        {"shot": "Image", "label": CAT_DOG},
        {},
        ["shot is taken; hash could"],
    ),
    "twice the same": (
        {"image": images(4), "labels": FOUR, "label": FOUR},
        {"label": CAT_DOG},
        {},
        ["label is taken; labels says the same"],
    ),
    "number and text": (
        {"image": images(4), "label": FOUR, "class": ["c", "d", "d", "c"]},
        {"label": CAT_DOG},
        {},
        ["label is taken; class says the same"],
    ),
    "one of two labels": (
        {"image": images(4), "label": [1, 0, 1, 0], "labels": FOUR},
        {"labels": CAT_DOG},
        {"label_column": "labels"},
        [],
    ),
    "one of two images": (
        {"image": images(4, start=9), "img": images(4), "label": FOUR},
        {"label": CAT_DOG},
        {"image_column": "img"},
        [],
    ),
    "by name alone": ({"x": images(4), "z": FOUR}, {"z": CAT_DOG}, {"image_column": "x", "label_column": "z"}, []),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_that_are_chosen(tmp_path: Path, case: str) -> None:
    columns, features, settings, told = COLUMNS[case]
    classes, splits, notes = read(put(tmp_path / "set", train=table(columns, **features)), **settings)
    assert (classes, splits) == (("cat", "dog"), {"train": named(["cat", "dog", "dog", "cat"])})
    assert [part in note for part, note in zip(told, sorted(notes), strict=True)] == [True] * len(told), notes


ONE = pa.array([FOUR[:1]] * 4, pa.list_(pa.int64()))
ARRAYS = pa.array([[[1, 2], [3, 4]]] * 4, pa.list_(pa.list_(pa.uint8())))
REFUSED_COLUMNS: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "two images": (
        {"image": images(4), "Img": images(4), "label": FOUR},
        {},
        r"image and Img could be the images: set ingest\.image_column",
    ),
    "two of any name": ({"a": images(4), "b": images(4), "label": FOUR}, {}, r"a and b could be the images: set ingest\.image_column"),
    "two labels": (
        {"image": images(4), "label": FOUR, "labels": [1, 0, 0, 1]},
        {},
        r"label and labels could be .* set ingest\.label_column",
    ),
    "label of lists beside": ({"image": images(4), "label": FOUR, "labels": ONE}, {}, r"label and labels could be the labels"),
    "two words": ({"image": images(4), "label_a": FOUR, "label_b": [0, 0, 1, 1]}, {}, r"label_a and label_b could be the labels"),
    "no image": ({"label": FOUR}, {}, r"no image column: expected image, img.* found label: int64.*ingest\.image_column"),
    "paths": ({"image": ["a.png"] * 4, "label": FOUR}, {}, r"no image column: column 'image' holds text \(paths or addresses\)"),
    "arrays": ({"image": ARRAYS, "label": FOUR}, {}, r"column 'image' holds arrays of numbers \(list.*encode each as PNG"),
    "lists of images": ({"images": pa.array([[b"x"]] * 4), "label": FOUR}, {}, r"column 'images' holds lists of images: write one row per"),
    "no bytes": (
        {"image": pa.array([{"path": "a"}] * 4), "label": FOUR},
        {},
        r"column 'image' is struct<path: string>, without a field bytes",
    ),
    "no label": (
        {"image": images(4), "caption": ["a"] * 4},
        {},
        r"no label column: expected label, labels.* caption: string.*ingest\.label_col",
    ),
    "wanted image": (
        {"image": images(4), "label": FOUR},
        {"image_column": "Image"},
        r"ingest\.image_column 'Image' is not there; found image",
    ),
    "wanted unfit": ({"image": images(4), "label": FOUR}, {"image_column": "label"}, r"ingest\.image_column 'label' is int64, not encoded"),
    "wanted label": ({"image": images(4), "label": FOUR}, {"label_column": "tag"}, r"ingest\.label_column 'tag' is not there; found"),
    "unfit label": (
        {"image": images(4), "label": FOUR},
        {"label_column": "image"},
        r"labels in column 'image' are struct.*ingest\.label_column",
    ),
    "fractions": ({"image": images(4), "label": [0.0, 0.5, 1.0, 0.0]}, {}, r"'label' are double, and not all are integers"),
    "large number": (
        {"image": images(4), "label": pa.array([1, 0, 2**64 - 1, 0], pa.uint64())},
        {},
        r"18446744073709551615 in row 2 .*int64",
    ),
    "lists": ({"image": images(4), "label": ONE}, {}, r"labels in column 'label' are lists .* every image needs one label"),
    "no text": ({"image": images(4), "label": [b"\xe9", b"a", b"a", b"a"]}, {}, r"'label' are not all text in UTF-8"),
    "null": ({"image": images(4), "label": [0, None, 1, None]}, {}, r"row 1 has no label \(2 such rows\).*ingest\.classes"),
    "no number": ({"image": images(4), "label": [0.0, 1.0, float("nan"), 1.0]}, {}, r"row 2 has no label \(1 such rows\)"),
    "empty text": ({"image": images(4), "label": ["a", " ", "b", ""]}, {}, r"row 1 has no label \(2 such rows\)"),
    "null category": ({"image": images(4), "label": coded([0, 1, None, 0], pa.array(["a", "b"]))}, {}, r"row 2 has no label"),
    "negative": ({"image": images(4), "label": [0, 1, 1, -1]}, {}, r"label -1 of row 3 \(1 such rows\): negative labels often mark"),
    "nothing": ({"image": images(4), "label": pa.nulls(4)}, {}, r"train\.parquet: its rows have no label \(all are empty\)"),
    "spaces": ({"image": images(4), "label": ["cat", "cat ", "Cat", "cat"]}, {}, r"duplicate class names 'cat', 'cat '"),
    "Unicode forms": (
        {"image": images(4), "label": ["caf\u00e9", "cafe\u0301"] * 2},
        {},
        r"duplicate class names 'cafe\\u0301', 'caf\\xe9'",
    ),
    "paths alone": (
        {"image": pa.array([{"bytes": None, "path": f"{number}.png"} for number in range(4)], STRUCT), "label": FOUR},
        {},
        r"column 'image' holds no images, only where they were .* in all 4 rows",
    ),
}


@pytest.mark.parametrize("case", REFUSED_COLUMNS)
def test_columns_that_are_refused(tmp_path: Path, case: str) -> None:
    columns, settings, message = REFUSED_COLUMNS[case]
    with pytest.raises(DataError, match=message) as caught:
        read(put(tmp_path / "set", train=table(columns)), **settings)
    assert "\n" not in str(caught.value)


def test_text_that_is_no_utf8_in_a_column_of_text(tmp_path: Path) -> None:
    wrong = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xe9a")])
    with pytest.raises(DataError, match="'label' are not all text in UTF-8"):
        read(put(tmp_path / "set", train=labeled(wrong)))


def test_columns_twice_and_of_other_names(tmp_path: Path) -> None:
    double = pa.Table.from_arrays([images(4), pa.array(FOUR), pa.array(FOUR)], names=["image", "label", "label"])
    with pytest.raises(DataError, match="'label' is there more than once"):
        read(put(tmp_path / "double", train=double), label_column="label")
    with pytest.raises(DataError, match="column 'label' is there more than once: rename"):
        read(tmp_path / "double")
    other = table({"image": images(4), "category": FOUR})
    with pytest.raises(DataError, match=r"different names: category in test\.parquet and label in train\.parquet"):
        read(put(tmp_path / "other", train=labeled(FOUR), test=other))
    case = read(put(tmp_path / "case", train=labeled(FOUR), test=table({"Image": images(4), "LABEL": FOUR})))
    assert case[1]["train"] == case[1]["test"]


# train; test; settings; classes; classes of the test images; parts of the notes
CLASSES: dict[str, tuple[pa.Table, pa.Table, dict[str, Any], tuple[str, ...], list[str], list[str]]] = {
    "names of train": (
        labeled([1, 0], label=CAT_DOG),
        labeled([1, 0]),
        {},
        ("cat", "dog"),
        ["dog", "cat"],
        ["train.parquet also hold for test"],
    ),
    "names of test": (
        labeled([1, 0]),
        labeled([1, 0], label=CAT_DOG),
        {},
        ("cat", "dog"),
        ["dog", "cat"],
        ["test.parquet also hold for train"],
    ),
    "other order": (
        labeled([1, 0], label=CAT_DOG),
        labeled([1, 0], label=["dog", "cat"]),
        {},
        ("cat", "dog"),
        ["cat", "dog"],
        ["by name"],
    ),
    "order of the metadata": (labeled([1, 0], label=["z", "a"]), labeled([1, 0], label=["z", "a"]), {}, ("z", "a"), ["a", "z"], []),
    "a class that never occurs": (
        labeled([2, 0], label=["cat", "never", "dog"]),
        labeled([2, 0], label=["cat", "never", "dog"]),
        {},
        ("cat", "dog"),
        ["dog", "cat"],
        ["no image has 'never'"],
    ),
    "other kinds of metadata": (labeled([1, 0], label="Value"), labeled([1, 0], image="Image"), {}, ("0", "1"), ["1", "0"], []),
    "capital letters apart": (labeled(["Cat", "Dog"]), labeled(["cat", "dog"]), {}, ("Cat", "Dog"), ["Cat", "Dog"], ["'cat' as 'Cat'"]),
    "Unicode forms apart": (labeled(["caf\u00e9", "a"]), labeled(["cafe\u0301", "a"]), {}, ("a", "caf\u00e9"), ["caf\u00e9", "a"], []),
    "a subset in its order": (
        labeled([0, 1, 2, 2], label=["a", "b", "c"]),
        labeled([2, 1, 0], label=["a", "b", "c"]),
        {"classes": ("c", "a")},
        ("c", "a"),
        ["c", "", "a"],
        ["ingest.classes leaves out 1 train images and 1 test images of 'b'"],
    ),
    "numbers as text in their order": (
        labeled(["10", "9"]),
        labeled(["9", "10"]),
        {"classes": ("9", "10")},
        ("9", "10"),
        ["9", "10"],
        [],
    ),
    "a subset without the unlabeled": (
        labeled([0, -1, None, 1]),
        labeled([1, 0]),
        {"classes": ("0", "1")},
        ("0", "1"),
        ["1", "0"],
        ["leaves out 2 train images without a label"],
    ),
    "a subset beside the unlabeled": (
        labeled([0, 2, None, 1]),
        labeled([1, 0, 2, -1]),
        {"classes": ("0", "1")},
        ("0", "1"),
        ["1", "0"],
        ["leaves out 2 train images and 2 test images of '2' or without a label"],
    ),
    "minus one as a class": (labeled([-1, 1]), labeled([1, -1]), {"classes": ("-1", "1")}, ("-1", "1"), ["1", "-1"], []),
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes(tmp_path: Path, case: str) -> None:
    train, test, settings, classes, names, told = CLASSES[case]
    found, splits, notes = read(put(tmp_path / "set", train=train, test=test), **settings)
    assert found == classes
    assert splits["test"] == [(number, name) for number, name in enumerate(names) if name]
    assert {name for _, name in splits["train"]} == set(classes)
    assert [part in note for part, note in zip(told, notes, strict=True)] == [True] * len(told), notes


REFUSED_CLASSES: dict[str, tuple[pa.Table, pa.Table, dict[str, Any], str]] = {
    "other classes": (labeled([0, 1]), labeled([0, 2]), {}, r"only in train: '1'; only in test: '2'\): .*ingest\.classes .*held_out"),
    "one class alone": (labeled([0, 1], label=CAT_DOG), labeled([0, 0], label=CAT_DOG), {}, r"only in train: 'dog'"),
    "other kinds": (labeled([0, 1]), labeled(["0", "1"]), {}, r"different kinds: numbers in train\.parquet and text in test\.parquet"),
    "outside of the names": (labeled([0, 2], label=CAT_DOG), labeled([0, 1]), {}, r"label 2 of row 1 is outside 0\.\.1 .*1 such rows"),
    "equal names": (labeled([0, 1], label=["cat", "cat"]), labeled([0, 1]), {}, r"train\.parquet: duplicate class names"),
    "unlabeled rows of the test": (labeled([0, 1]), labeled([0, -1]), {}, r"test\.parquet: label -1 of row 1"),
    "unknown class": (
        labeled([0, 1], label=CAT_DOG),
        labeled([0, 1]),
        {"classes": ("cat", "cow")},
        r"names 'cow', .*train images; .*'cat', 'dog'",
    ),
    "class of train alone": (labeled(["a", "b"]), labeled(["a", "c"]), {"classes": ("a", "b")}, r"names 'b', without any test images"),
    "class twice": (labeled([0, 1]), labeled([0, 1]), {"classes": ("0", "0")}, r"ingest\.classes names 0 twice"),
}


@pytest.mark.parametrize("case", REFUSED_CLASSES)
def test_classes_that_are_refused(tmp_path: Path, case: str) -> None:
    train, test, settings, message = REFUSED_CLASSES[case]
    with pytest.raises(DataError, match=message):
        read(put(tmp_path / "set", train=train, test=test), **settings)


def test_a_subset_of_the_classes_is_stored_as_such(tmp_path: Path) -> None:
    """Through the whole stage: images of other classes leave no trace, and those that stay keep their own pixels and origins."""
    rows = [("c", "a", "b")[number % 3] for number in range(40)]
    root = put(tmp_path / "set", train=labeled(rows), test=labeled(rows[:9]))
    config = IngestConfig(source="parquet", uri=str(root), classes=("c", "b"))
    dataset = open_recorded(read_source(config, str(tmp_path / "store")))
    kept = [number for number, name in enumerate(rows) if name != "a"]
    assert dataset.class_names == ("c", "b")
    assert dataset.train.images()[:, 0, 0, 0].tolist() == kept
    assert dataset.train.labels.tolist() == [0 if rows[number] == "c" else 1 for number in kept]
    assert dataset.origins("train") == [f"train.parquet#{number}" for number in kept]
