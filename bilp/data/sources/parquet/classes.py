"""From the label columns of all files to classes: their names, their order, and the class of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilp.data.contents import Labels, SplitName, check_class_names
from bilp.data.names import class_name, matched
from bilp.data.sources.parquet.labels import NUMBERS, TEXT, LabelColumn
from bilp.data.sources.parquet.patterns import listed
from bilp.errors import DataError
from bilp.text.escaping import shown

Columns = Mapping[SplitName, Sequence[LabelColumn]]


@dataclass(frozen=True)
class Classes:
    """Names of the classes in order; per split and file the class of every row, int64 [rows], -1 for rows that are left out."""

    names: tuple[str, ...]
    rows: Mapping[SplitName, list[Labels]]
    notes: tuple[str, ...]


def is_unlabeled(columns: Sequence[LabelColumn]) -> bool:
    """Whether no row of these files has a label: all are null, empty or negative."""
    return all(_is_mark(value) for column in columns for value in column.values)


def classes_of(columns: Columns, wanted: Sequence[str], where: str) -> Classes:
    """Put the files' labels together.

    Classes are told apart by name: the one that the metadata give a number, else the number or the text itself. Their
    order is that of `wanted`, which also leaves out all other classes; else that of the metadata's names, of the
    numbers, or of the texts. Raises DataError if rows lack a label (and `wanted` does not leave them out), numbers lie
    outside of the names, or the splits differ in their classes.
    """
    everything = [column for found in columns.values() for column in found if column.kind]
    _check_kinds(everything, where)
    stated, notes = _stated(everything, where)
    texts = {id(column): _texts(column, stated) for column in everything}
    by_split = {split: [column for column in found if column.kind] for split, found in columns.items()}
    for split, part in by_split.items():
        check_class_names(sorted({text for column in part for text in texts[id(column)]}), f"{where} ({split})")
    texts = {key: [class_name(text) for text in values] for key, values in texts.items()}
    found = {split: {text for column in part for text in texts[id(column)]} for split, part in by_split.items()}
    notes += _unite_spellings(by_split, found, texts)
    marks = {str(value) for column in everything for value in column.values if column.kind == NUMBERS and _is_mark(value)}
    if wanted:
        names = tuple(class_name(name) for name in wanted)
        _check_wanted(names, found, where)
    else:
        _check_labeled(columns)
        names = _ordered(by_split["train"], found["train"], texts)
        if "test" in found:
            _check_same(found["train"], found["test"], where)
        notes += _never(stated, set().union(*found.values()))
        notes += _numeric_texts(everything, names)
    rows = {split: [_classes_of_rows(column, texts.get(id(column), []), names) for column in part] for split, part in columns.items()}
    unlabeled = bool(marks - set(names)) or any(column.rows_of(-1) for part in columns.values() for column in part)
    notes += _left_out(rows, set().union(*found.values()) - set(names) - marks, unlabeled) if wanted else []
    return Classes(names, rows, tuple(dict.fromkeys(notes)))


def _unite_spellings(by_split: Columns, found: dict[SplitName, set[str]], texts: dict[int, list[str]]) -> list[str]:
    """Where train and test spell the same classes with other capital letters or spaces, those of train; a note if so."""
    pairs = matched(sorted(found["train"]), sorted(found.get("test", found["train"])))
    changed = {theirs: ours for theirs, ours in (pairs or {}).items() if theirs != ours}
    if not changed:
        return []
    for column in by_split["test"]:
        texts[id(column)] = [changed.get(text, text) for text in texts[id(column)]]
    found["test"] = {changed.get(text, text) for text in found["test"]}
    spellings = listed([f"{theirs!r} as {ours!r}" for theirs, ours in sorted(changed.items())])
    return [f"classes: the test images' {spellings}, which differ in capital letters or spaces alone"]


def _is_mark(value: object) -> bool:
    """Whether a value says that there is no label."""
    return isinstance(value, int) and value < 0


def _check_kinds(columns: Sequence[LabelColumn], where: str) -> None:
    examples = {column.kind: column.table.name for column in reversed(columns)}
    if len(examples) > 1:
        found = " and ".join(f"{kind} in {name}" for kind, name in sorted(examples.items()))
        raise DataError(f"{where}: labels of different kinds: {found}: use one kind in all files")


def _stated(columns: Sequence[LabelColumn], where: str) -> tuple[tuple[str, ...] | None, list[str]]:
    """Names for the numbers of files that state none themselves (None if there are none), and notes."""
    stating = {column.names: column.table.name for column in reversed(columns) if column.names is not None}
    silent = [column.table.name for column in columns if column.names is None]
    for names, file in stating.items():
        assert names is not None
        check_class_names(names, f"{where}: {shown(file)}")
    if not stating:
        return None, []
    first = next(column.names for column in columns if column.names is not None)
    if silent and len(stating) > 1:
        raise DataError(
            f"{where}: {' and '.join(sorted(stating.values()))} state different class names and {silent[0]} states none: "
            "write the files again with the same names"
        )
    notes = []
    if silent:
        notes.append(f"class names: those of {stating[first]} also hold for {listed(silent)}, whose metadata state none")
    if len(stating) > 1:
        notes.append(f"class names: {' and '.join(sorted(stating.values()))} state different names; labels are matched by name")
    return first, notes


def _texts(column: LabelColumn, stated: tuple[str, ...] | None) -> list[str]:
    """The class name of each of a column's values."""
    names = column.names or stated
    if column.kind != NUMBERS or names is None:
        return [str(value) for value in column.values]
    for code, value in enumerate(column.values):
        if value >= len(names):
            raise DataError(
                f"{column.table.where}: label {value} of row {column.first_row(code)} is outside 0..{len(names) - 1} of the class names "
                f"in its metadata ({column.rows_of(code)} such rows): correct the labels or the names"
            )
    return [str(value) if value < 0 else names[value] for value in column.values]


def _check_labeled(columns: Columns) -> None:
    """Every row must have a label."""
    remedy = "give them labels, remove them, or set ingest.classes to the classes to take"
    for found in columns.values():
        for column in found:
            lacking = column.rows_of(-1)
            if lacking:
                row = column.first_row(-1)
                raise DataError(f"{column.table.where}: row {row} has no label ({lacking} such rows): {remedy}")
            for code, value in enumerate(column.values):
                if _is_mark(value):
                    raise DataError(
                        f"{column.table.where}: label {value} of row {column.first_row(code)} ({column.rows_of(code)} such rows): "
                        f"negative labels often mark images without a label: {remedy}"
                    )


def _ordered(train: Sequence[LabelColumn], found: set[str], texts: Mapping[int, list[str]]) -> tuple[str, ...]:
    """The classes of the training images: in the order of the first names that are stated, then of numbers, then of texts."""
    rank: dict[str, int] = {}
    for column in train:
        for name in column.names or ():
            rank.setdefault(class_name(name), len(rank))
    numbers = {
        text: int(value) for column in train if column.kind == NUMBERS for text, value in zip(texts[id(column)], column.values, strict=True)
    }
    return tuple(sorted(found, key=lambda text: (rank.get(text, len(rank)), numbers.get(text, 0), text)))


def _check_wanted(wanted: Sequence[str], found: Mapping[SplitName, set[str]], where: str) -> None:
    if len(set(wanted)) < len(wanted):
        twice = sorted({name for name in wanted if wanted.count(name) > 1})
        raise DataError(f"{where}: ingest.classes names {listed(twice)} twice: name each class once")
    for split, names in found.items():
        lacking = [name for name in wanted if name not in names]
        if lacking:
            raise DataError(
                f"{where}: ingest.classes names {_quoted(lacking)}, without any {split} images; there are {_quoted(sorted(names))}"
            )


def _check_same(train: set[str], test: set[str], where: str) -> None:
    parts = [f"only in {split}: {_quoted(sorted(names))}" for split, names in (("train", train - test), ("test", test - train)) if names]
    if parts:
        raise DataError(
            f"{where}: train and test have different classes ({'; '.join(parts)}): give both the same classes, set ingest.classes to those "
            "of both, or ingest.test to held_out or to other files"
        )


def _never(stated: Sequence[str] | None, found: set[str]) -> list[str]:
    never = [name for name in map(class_name, stated or ()) if name not in found]
    return [f"classes: no image has {_quoted(never)}, named in the metadata; left out"] if never else []


def _numeric_texts(columns: Sequence[LabelColumn], names: Sequence[str]) -> list[str]:
    """A word about numbers that are stored as texts, if their order is another one then."""
    if not all(column.kind == TEXT for column in columns) or not all(name.isascii() and name.isdigit() for name in names):
        return []
    if list(names) == sorted(names, key=int):
        return []
    order = listed([repr(name) for name in names])
    return [f"classes: numbers stored as text are in the order of texts: {order} (ingest.classes gives another order)"]


def _classes_of_rows(column: LabelColumn, texts: Sequence[str], names: Sequence[str]) -> Labels:
    position = {name: index for index, name in enumerate(names)}
    places: NDArray[np.int64] = np.array([*(position.get(text, -1) for text in texts), -1], dtype=np.int64)
    return places[column.codes]


def _left_out(rows: Mapping[SplitName, Sequence[Labels]], others: set[str], unlabeled: bool) -> list[str]:
    """A note about the rows that `ingest.classes` leaves out: those of `others`, and those without a label if there are any."""
    counts = {split: sum(int(np.count_nonzero(labels < 0)) for labels in part) for split, part in rows.items()}
    told = " and ".join(f"{count} {split} images" for split, count in counts.items() if count)
    classes = [f"of {_quoted(sorted(others))}"] if others else []
    return [f"ingest.classes leaves out {told} {' or '.join([*classes, *(['without a label'] if unlabeled else [])])}"] if told else []


def _quoted(names: Sequence[str]) -> str:
    return listed([repr(name) for name in names])
