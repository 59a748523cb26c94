"""Parquet in the Hugging Face layout, local or in object storage.

    DIRECTORY/train-*.parquet  with  DIRECTORY/test-*.parquet  (or validation-*, valid-*, val-*); also below DIRECTORY/data

Without a test file a test split is held out. Pictures are a column `image` or `img`: a struct with a field `bytes`, or
plain binary. Labels are a column `label`, `labels` or `fine_label`: integers, or strings whose sorted values are the
classes. Names of integer classes come from the schema's `huggingface` metadata; without it the classes are the
numbers that occur, in order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bilp import storage
from bilp.data.contents import GROUP_IMAGES, TEST_NAMES, Contents, Group, Labels, SplitName, check_same_classes, cut, dataset_name
from bilp.data.decode import DecodeError
from bilp.data.listing import Entry, list_files, plain
from bilp.errors import DataError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")


@dataclass(frozen=True)
class _File:
    """A Parquet file: its name relative to the source, and its columns of pictures and labels."""

    name: str
    uri: str
    image: str
    label: str


class HuggingFaceParquet:
    """Parquet files with encoded pictures and labels."""

    def __init__(self, uri: str) -> None:
        """`uri` is the directory of the files, a path or s3://..."""
        self.uri = plain(uri)
        self.name = dataset_name(self.uri, "parquet")

    def signature(self) -> str:
        """Digest of the files' names, sizes and modification stamps."""
        lines = [f"{split}\x1f{entry.path}\x1f{entry.size}\x1f{entry.stamp}" for split, found in self._entries.items() for entry in found]
        return hashlib.sha256("\n".join(["parquet", *lines]).encode()).hexdigest()

    def read(self) -> Contents:
        """Classes and labels, without reading pictures. Raises DataError if columns or labels are missing or unfit."""
        files = {split: [self._describe(entry) for entry in entries] for split, entries in self._entries.items()}
        values = {split: _label_values(found) for split, found in files.items()}
        kinds = {str(column.type) for column in values.values()}
        if len(kinds) > 1:
            raise DataError(f"{self.uri}: train and test have labels of different kinds ({' and '.join(sorted(kinds))}): use one kind")
        named = _class_names([file for found in files.values() for file in found], self.uri)
        if named is not None and kinds == {"int64"}:
            names, labels = named, {split: _integers(column) for split, column in values.items()}
        else:
            names, labels = _classes_from_values(values, self.uri)

        def groups(split: SplitName) -> Iterator[Group]:
            for file in files[split]:
                yield from _groups(file)

        return Contents(names, labels, groups)

    @cached_property
    def _entries(self) -> dict[SplitName, list[Entry]]:
        listed = [entry for entry in list_files(self.uri).files if entry.path.endswith(".parquet")]
        for folder in ("", "data/"):
            by_split = {name: [entry for entry in listed if _belongs(entry.path, folder, name)] for name in ("train", *TEST_NAMES)}
            if by_split["train"]:
                test = next((by_split[name] for name in TEST_NAMES if by_split[name]), None)
                return {"train": by_split["train"]} if test is None else {"train": by_split["train"], "test": test}
        found = ", ".join(entry.path for entry in listed[:10]) or "no Parquet files"
        raise DataError(f"{self.uri}: no training images: expected train-*.parquet here or in data/, found {found}")

    def _describe(self, entry: Entry) -> _File:
        uri = storage.join(self.uri, entry.path)
        schema = _opened(uri).schema_arrow
        image = next((name for name in IMAGE_COLUMNS if name in schema.names and _holds_pictures(schema.field(name).type)), None)
        label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
        columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
        if image is None:
            raise DataError(f"{uri}: no image column: expected image or img, binary or a struct with bytes; found {columns}")
        if label is None:
            raise DataError(f"{uri}: no label column: expected {', '.join(LABEL_COLUMNS)}; found {columns}")
        return _File(entry.path, uri, image, label)


def _belongs(path: str, folder: str, split: str) -> bool:
    return re.fullmatch(rf"{re.escape(folder)}{split}(?:-[^/]*)?\.parquet", path) is not None


def _opened(uri: str) -> pq.ParquetFile:
    path = storage.localise(uri)
    with _reading(uri):
        return pq.ParquetFile(path, memory_map=True)


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{uri}: is not a readable Parquet file: {error}. Fetch it again") from error


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_binary(kind.field(index).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _label_values(files: list[_File]) -> pa.ChunkedArray:
    """Labels of all files in order, as int64 or string, never null."""
    chunks: list[pa.Array] = []
    for file in files:
        with _reading(file.uri):
            column = _opened(file.uri).read(columns=[file.label]).column(0)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise DataError(f"{file.uri}: label of row {row} is null ({column.null_count} such rows): every image needs a label")
        chunks += _int_or_string(column, file).chunks
    kinds = {chunk.type for chunk in chunks}
    if len(kinds) > 1:
        raise DataError(f"{files[0].uri} and its siblings mix integer and string labels: use one kind")
    return pa.chunked_array(chunks, type=kinds.pop() if kinds else pa.int64())


def _int_or_string(column: pa.ChunkedArray, file: _File) -> pa.ChunkedArray:
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.string())
    raise DataError(f"{file.uri}: labels in column {file.label!r} are {column.type}: use integers or strings")


def _class_names(files: list[_File], where: str) -> tuple[str, ...] | None:
    """Names of integer classes as the files' metadata state them, or None if none does."""
    stated = {names: file.name for file in reversed(files) if (names := _stated_names(file)) is not None}
    if len(stated) > 1:
        raise DataError(
            f"{where}: {' and '.join(sorted(stated.values()))} state different class names: their labels cannot be put together"
        )
    return next(iter(stated), None)


def _stated_names(file: _File) -> tuple[str, ...] | None:
    metadata = _opened(file.uri).schema_arrow.metadata or {}
    if b"huggingface" not in metadata:
        return None
    try:
        stated: Any = json.loads(metadata[b"huggingface"])
        names = stated["info"]["features"][file.label].get("names")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"its huggingface metadata does not describe column {file.label!r} ({error!r})"
        raise DataError(f"{file.uri}: {problem}: write the file again") from error
    return tuple(str(name) for name in names) if names else None


def _classes_from_values(values: dict[SplitName, pa.ChunkedArray], where: str) -> tuple[tuple[str, ...], dict[SplitName, Labels]]:
    """The sorted values that occur are the classes; labels are their positions."""
    distinct = {split: sorted(column.unique().to_pylist()) for split, column in values.items()}
    for split, found in distinct.items():
        if found and isinstance(found[0], int) and found[0] < 0:
            raise DataError(f"{where}: {split} has label {found[0]}: negative labels often mark images without a label: remove them")
    texts = {split: [str(value) for value in found] for split, found in distinct.items()}
    check_same_classes(texts["train"], texts.get("test", texts["train"]), where)
    order = pa.array(distinct["train"], values["train"].type)
    return tuple(texts["train"]), {split: _integers(pc.index_in(column, order)) for split, column in values.items()}


def _integers(column: pa.ChunkedArray) -> Labels:
    labels: Labels = column.to_numpy().astype(np.int64)
    return labels


def _groups(file: _File) -> Iterator[Group]:
    row = 0
    with _reading(file.uri):
        for batch in _opened(file.uri).iter_batches(batch_size=GROUP_IMAGES, columns=[file.image]):
            column = batch.column(0)
            if pa.types.is_struct(column.type):
                column = pc.struct_field(column, "bytes")
            for start, stop in cut(pc.fill_null(pc.binary_length(column), 0).to_pylist()):
                readers: list[Callable[[], bytes]] = [_reader(column, index) for index in range(start, stop)]
                yield Group([f"{file.name}#{row + index}" for index in range(start, stop)], readers)
            row += len(column)


def _reader(column: pa.Array, index: int) -> Callable[[], bytes]:
    def read() -> bytes:
        data: bytes | None = column[index].as_py()
        if data is None:
            raise DecodeError("the row holds no bytes")
        return data

    return read
