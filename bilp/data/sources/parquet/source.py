"""The source `parquet`: files, columns, labels and images put together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial

from bilp.config import IngestConfig
from bilp.data.contents import Contents, Group, SplitName, dataset_name
from bilp.data.items import Items, joined
from bilp.data.listing import IRREGULAR, list_files, plain
from bilp.data.sources.parquet.choice import HELD_OUT, Asked, Choice, Files, choose
from bilp.data.sources.parquet.classes import classes_of, is_unlabeled
from bilp.data.sources.parquet.columns import image_column, label_column, no_label_column
from bilp.data.sources.parquet.file_names import is_parquet, parse
from bilp.data.sources.parquet.images import check_embedded, image_groups, table_items
from bilp.data.sources.parquet.labels import LabelColumn, read_labels, same_labels
from bilp.data.sources.parquet.patterns import listed
from bilp.data.sources.parquet.tables import Table, open_table
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown


class HuggingFaceParquet:
    """Parquet files with encoded images and labels."""

    def __init__(self, config: IngestConfig) -> None:
        """`config.uri` is the directory of the files, a path or s3://...; the settings that choose among them count too."""
        assert config.uri is not None
        self.uri = plain(config.uri)
        self.name = dataset_name(self.uri, "parquet")
        self._where = shown(self.uri)
        self._config = config
        self._tables: dict[str, Table] = {}

    def signature(self) -> str:
        """Digest of names, sizes and modification stamps of the training files and of all that may be the test images."""
        named: list[tuple[str, Files]] = [("train", self._choice.train)]
        named += [("test" if place == 0 else f"test {place}", files) for place, files in enumerate(self._choice.tests)]
        lines = [
            f"{split}\x1f{part.path}\x1f{part.entry.size}\x1f{part.entry.stamp}"
            for split, files in named
            for part in sorted(files.parts, key=lambda part: part.path)
        ]
        return hashlib.sha256("\n".join(["parquet", *lines]).encode("utf-8", "surrogateescape")).hexdigest()

    def read(self) -> Contents:
        """Classes and labels, without reading images. Raises DataError if files, columns or labels are missing or unfit."""
        notes = list(self._choice.notes)
        notes += self._choice.train.checked(self._where)
        columns: dict[SplitName, list[LabelColumn]] = {"train": self._labels(self._choice.train, notes)}
        if is_unlabeled(columns["train"]):
            self._refuse_unlabeled(self._choice.train, columns["train"])
        test = self._test(notes)
        if test is not None:
            columns["test"] = test
        _check_columns(columns, self._where)
        found = classes_of(columns, self._config.classes, self._where)
        for part in columns.values():
            for column in part:
                check_embedded(column.table, self._image_column(column.table, notes))
        items = {
            split: joined([table_items(column.table, rows) for column, rows in zip(part, found.rows[split], strict=True)])
            for split, part in columns.items()
        }
        return Contents(found.names, items, notes=tuple(dict.fromkeys([*notes, *found.notes])))

    def groups(self, items: Items) -> Iterator[Group]:
        """The rows, file by file; of each file no row group is read that holds none of them."""
        for path, part in items.by_file():
            table = self._table(path)
            yield from image_groups(table, self._image_column(table, []), part)

    def _table(self, path: str) -> Table:
        """A file, whose footer is read once."""
        if path not in self._tables:
            self._tables[path] = open_table(path, objects.join(self.uri, path))
        return self._tables[path]

    @cached_property
    def _choice(self) -> Choice:
        listing = list_files(self.uri)
        parts = [parse(entry) for entry in listing.files if is_parquet(entry.path)]
        if not parts:
            others = listed([entry.path for entry in listing.files]) or "no files"
            raise DataError(f"{self._where}: no training images: expected Parquet files such as train-*.parquet, found {others}")
        asked = Asked(self._config.train, self._config.test, self._config.config)
        chosen = choose(parts, asked, self._where)
        unfinished = [entry.path for entry in listing.files if not is_parquet(entry.path) and ".parquet." in entry.path.casefold()]
        notes = [f"passed over {listed(unfinished)}: by name no whole Parquet files"] if unfinished else []
        ignored = listing.note()
        return replace(chosen, notes=(*chosen.notes, *notes, *([ignored] if ignored else [])))

    def _labels(self, files: Files, notes: list[str]) -> list[LabelColumn]:
        """The label column of every file, in the order of their paths."""
        columns = []
        for part in sorted(files.parts, key=lambda part: part.path):
            if part.entry.problem == IRREGULAR:
                raise DataError(f"{self._where}: {shown(part.path)} is {IRREGULAR}: remove it, or put a Parquet file in its place")
            table = self._table(part.path)
            name, told = label_column(table, self._config.label_column, partial(same_labels, table))
            column = read_labels(table, name)
            notes += [*told, *column.notes]
            if table.rows == 0:
                notes.append(f"{shown(table.name)}: holds no rows")
            columns.append(column)
        return columns

    def _test(self, notes: list[str]) -> list[LabelColumn] | None:
        """The labels of the first test images that have any; None without test images. Raises DataError if all are unlabeled."""
        unlabeled: list[str] = []
        for place, files in enumerate(self._choice.tests):
            told = files.checked(self._where)
            columns = self._labels(files, told)
            if not is_unlabeled(columns):
                notes += [f"passed over {lacking}" for lacking in unlabeled]
                rest = [other.shown() for other in self._choice.tests[place + 1 :]]
                notes += told
                if rest:
                    notes.append(f"passed over {listed(rest)}: the test images are taken from {files.shown()} (ingest.test)")
                elif place or not all(part.split and part.split.casefold().startswith("test") for part in files.parts):
                    notes.append(f"{files.shown()}: test images")
                return columns
            if files.given:
                self._refuse_unlabeled(files, columns)
            unlabeled.append(f"{files.shown()}: {_what_lacks(columns)}")
        if unlabeled:
            raise DataError(
                f"{self._where}: the test images have no labels ({'; '.join(unlabeled)}): set ingest.test to {HELD_OUT} to make a test "
                "split out of the training images, or to the files of labeled ones"
            )
        return None

    def _refuse_unlabeled(self, files: Files, columns: list[LabelColumn]) -> None:
        if not any(column.table.rows for column in columns):
            kind = "training" if files is self._choice.train else "test"
            raise DataError(
                f"{self._where}: no {kind} images: {files.shown()} holds no rows: add images, or set {files.setting} to other files"
            )
        if all(not column.column for column in columns):
            raise no_label_column(columns[0].table)
        other = f"set {files.setting} to other files, or ingest.label_column to another column"
        raise DataError(f"{self._where}: {files.shown()}: {_what_lacks(columns)}: {other}")

    def _image_column(self, table: Table, notes: list[str]) -> str:
        name, told = image_column(table, self._config.image_column)
        notes += told
        return name


def _what_lacks(columns: Sequence[LabelColumn]) -> str:
    """Why no row has a label."""
    if not any(column.table.rows for column in columns):
        return "it holds no rows"
    if all(not column.column for column in columns):
        return "it has no label column"
    marks = sorted({str(value) for column in columns for value in column.values})
    return f"its rows have no label (all are {' or '.join(marks)})" if marks else "its rows have no label (all are empty)"


def _check_columns(columns: dict[SplitName, list[LabelColumn]], where: str) -> None:
    """The labels of all files must come from columns of one name, in whatever case; every file with rows must have one."""
    everything = [column for part in columns.values() for column in part if column.table.rows]
    for column in everything:
        if not column.column:
            raise no_label_column(column.table)
    names = {column.column.casefold(): column for column in reversed(everything)}
    if len(names) > 1:
        found = " and ".join(f"{column.column} in {shown(column.table.name)}" for column in names.values())
        raise DataError(
            f"{where}: labels are in columns of different names: {found}: rename them, or set ingest.label_column to one that all have"
        )
