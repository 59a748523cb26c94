"""A person's corrections: a CSV file whose rows keep, drop or relabel training images.

Columns (in any order; others are passed over): split, path, index, sha256, given_label, action, new_label, note. An image is found by
`path`, as the source calls it, or, where that is empty, by `index`, its position among the images of the source's split. `sha256`, of
its pixels, and `given_label`, the name of its class, must be as the data set has them: corrections of something else are refused.
`action` is keep, drop or relabel (then `new_label` is the name of a class); a row without one is not decided yet, and changes nothing.
Cells are separated by commas, or by the semicolons or tabs that spreadsheets write in some languages.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bilp.data.contents import counted, quoted
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown, spreadsheet, unwrapped
from bilp.text.sample_words import spoken

LARGEST = 2**28
"""Bytes of a file: a row for each image of ImageNet takes about 200 MB."""
COLUMNS = ("split", "path", "index", "sha256", "given_label", "action", "new_label", "note")
SEPARATORS = ",;\t"
KEEP, DROP, RELABEL = "keep", "drop", "relabel"
ACTIONS = (KEEP, DROP, RELABEL)


@dataclass(frozen=True)
class Correction:
    """What a row says of the image at a position of the train split."""

    sample: int
    action: str
    label: int
    """That the image has from now on."""
    note: str


@dataclass(frozen=True)
class Correctable:
    """The train split that is corrected: what the source called each image, where it stood there, its digest, its class."""

    origins: Sequence[str]
    places: Sequence[int]
    digests: Sequence[str]
    labels: Sequence[int]
    class_names: Sequence[str]
    held_out: frozenset[str] = frozenset()
    """Origins of the images of the source's only split that are the test split here: rows about them change nothing."""


def read_corrections(file: str, split: Correctable) -> list[Correction]:
    """The decided rows of the file, in its order, each image once; without those of images that are held out here for testing.

    Raises DataError, naming the line, for a file that is no such table, for an image that is not in the train split or has other
    pixels or another label, and for rows that contradict each other.
    """
    aside = {spell(origin) for origin in split.held_out for spell in (str, spreadsheet)}
    rows = [(line, row) for line, row in decided_rows(file) if row["path"] not in aside]
    finder = _Finder(split, [row for _, row in rows])
    by_name = numbers_by_spelling(split.class_names)
    found: dict[int, tuple[int, Correction]] = {}
    for line, row in rows:
        where = f"{file}: line {line}"
        sample = finder.find(row, where)
        correction = _checked(row, sample, split, by_name, where)
        if sample in found and _decision(found[sample][1]) != _decision(correction):
            raise DataError(f"{where} decides otherwise than line {found[sample][0]} about the same {spoken('image')}: keep one of them")
        found.setdefault(sample, (line, correction))
    return [correction for _, correction in found.values()]


def decided_rows(file: str) -> list[tuple[int, Mapping[str, str]]]:
    """The rows that have an action, with the numbers of their lines. Raises DataError for a file that is no such table."""
    return [(line, row) for line, row in _rows(file) if _action(row, f"{file}: line {line}")]


def _decision(correction: Correction) -> tuple[str, int]:
    return correction.action, correction.label


def _rows(file: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Each row with the number of its line."""
    try:
        text = objects.read(file, most=LARGEST).decode("utf-8-sig")
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
        head = [name.strip() for name in next(rows, [])]
        lacking = [name for name in COLUMNS if name not in head]
        if lacking:
            raise DataError(f"{file} has no column {quoted(lacking)}: corrections have {', '.join(COLUMNS)}")
        for row in rows:
            if row and len(row) != len(head):
                raise DataError(f"{file}: line {rows.line_num} has {counted(len(row), 'cell')}, its head {len(head)}: correct it")
            if row:
                yield rows.line_num, dict(zip(head, row, strict=True))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} cannot be read as CSV in UTF-8: save it as what spreadsheets call CSV UTF-8 ({unwrapped(error)})"
        ) from error
    except csv.Error as error:
        raise DataError(f"{file} cannot be read as CSV in UTF-8: {unwrapped(error)}") from error


def _separator(text: str) -> str:
    """What separates the names of the columns, none of which holds such a sign."""
    head = text.partition("\n")[0]
    return max(SEPARATORS, key=head.count)


def _action(row: Mapping[str, str], where: str) -> str:
    """The action, or nothing where none was decided."""
    action = row["action"].strip().lower()
    if action and action not in ACTIONS:
        raise DataError(f"{where}: action {_cell(row['action'])} is none: give {', '.join(ACTIONS)}, or nothing where it is not decided")
    return action


class _Finder:
    """Finds the images that rows mean: by what a spreadsheet is given for their paths, which goes before a path that is so called."""

    def __init__(self, split: Correctable, rows: Sequence[Mapping[str, str]]) -> None:
        wanted = {row["path"] for row in rows}
        self._by_path: dict[str, list[int]] = {}
        self._by_cell: dict[str, list[int]] = {}
        for sample, origin in enumerate(split.origins):
            for name, found in ((origin, self._by_path), (spreadsheet(origin), self._by_cell)):
                if name in wanted:
                    found.setdefault(name, []).append(sample)
        by_index = any(not row["path"].strip() for row in rows)
        self._by_place = {place: sample for sample, place in enumerate(split.places)} if by_index else {}

    def find(self, row: Mapping[str, str], where: str) -> int:
        """Position in the train split. Raises DataError if no image is meant, or several are."""
        if row["split"].strip() != "train":
            raise DataError(
                f"{where}: split is {_cell(row['split'])}: " + spoken("training images alone are corrected, test images stay as they are")
            )
        if row["path"].strip():
            samples = self._by_cell.get(row["path"]) or self._by_path.get(row["path"], [])
            if len(samples) > 1:
                raise DataError(f"{where}: {counted(len(samples), 'training image')} are called {_cell(row['path'])}: give index alone")
            told = f"called {_cell(row['path'])}"
        else:
            index = row["index"].strip()
            number = int(index) if index.isdecimal() and len(index) < 16 else -1
            samples = [self._by_place[number]] if number >= 0 and number in self._by_place else []
            told = f"of index {_cell(row['index'])}" if index else "without path and index"
        if not samples:
            raise DataError(
                f"{where}: there is no {spoken('training image')} {told}: remove the line, or ingest the source that it was written for"
            )
        return samples[0]


def _checked(row: Mapping[str, str], sample: int, split: Correctable, by_name: Mapping[str, int], where: str) -> Correction:
    action, label = _action(row, where), split.labels[sample]
    if row["sha256"].strip().lower() != split.digests[sample]:
        raise DataError(
            f"{where}: the pixels of {shown(split.origins[sample])} are others than sha256 says ({split.digests[sample]}): "
            + spoken("the image has changed since; look at it again")
        )
    if _class(row["given_label"], by_name) != label:
        raise DataError(
            f"{where}: given_label is {_cell(row['given_label'])}, and {shown(split.origins[sample])} is labeled "
            f"{split.class_names[label]!r}: look at it again"
        )
    if action == RELABEL:
        new = _class(row["new_label"], by_name)
        if new is None:
            raise DataError(f"{where}: new_label {_cell(row['new_label'])} is no class: give one of {quoted(split.class_names, 10)}")
        label = new
    return Correction(sample, action, label, row["note"])


def _class(cell: str, by_name: Mapping[str, int]) -> int | None:
    """The class that a cell names, with or without spaces around it; None if there is none."""
    return by_name.get(cell, by_name.get(cell.strip()))


def numbers_by_spelling(class_names: Sequence[str]) -> dict[str, int]:
    """The number of each class, by its name and by what a spreadsheet is given for it, which goes before the name of another one."""
    return {spell(name): number for spell in (str, spreadsheet) for number, name in enumerate(class_names)}


def _cell(text: str) -> str:
    return repr(shown(text)[:60])
