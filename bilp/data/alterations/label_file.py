"""Labels from a file of the user's own: CSV or JSON, one for each image of the source's train split, by name or number of the class."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from bilp.config.label_noise import LabelNoiseConfig
from bilp.data.alterations.corrections_file import numbers_by_spelling
from bilp.data.alterations.noise_kinds import Labeled
from bilp.data.contents import Labels, counted, quoted
from bilp.errors import DataError
from bilp.storage import objects, strict_json
from bilp.text.escaping import shown, unwrapped

LARGEST = 2**28
"""Bytes of a file; ImageNet's labels take about 10 MB."""
COLUMN = "label"


def from_file(given: Labeled, config: LabelNoiseConfig) -> Labels:
    """The labels that the file at `config.file` has for these images; int64 `[N]`.

    Raises DataError if it is neither CSV nor JSON, has no such column, not one label for each image of the source's train split, or
    one that is no class.
    """
    file = str(config.file)
    values = _values(objects.read(file, most=LARGEST), file, config.column)
    if len(values) != given.total:
        raise DataError(
            f"{file} holds {counted(len(values), 'label')}, and {given.where} has {counted(given.total, 'image')} in its training split: "
            "give one for each, in their order"
        )
    return numbers_of(values, given.class_names, file)[given.places]


def numbers_of(values: Sequence[Any], class_names: Sequence[str], file: str) -> Labels:
    """Class numbers, int64: texts are names if each is one of a class, else numbers. Raises DataError for what is neither."""
    by_name = numbers_by_spelling(class_names)
    if all(isinstance(value, str) for value in values):
        if all(value in by_name for value in values):
            return np.array([by_name[value] for value in values], dtype=np.int64)
        if not all(value.strip().isdecimal() for value in values):
            place = next(place for place, value in enumerate(values) if value not in by_name and not value.strip().isdecimal())
            raise _unknown(values[place], place, class_names, file)
        values = [int(value) if len(value.strip()) < 10 else -1 for value in values]
    for place, value in enumerate(values):
        if type(value) is not int or not 0 <= value < len(class_names):
            raise _unknown(value, place, class_names, file)
    return np.array(values, dtype=np.int64)


def _unknown(value: Any, place: int, class_names: Sequence[str], file: str) -> DataError:
    return DataError(
        f"{file}: label {place + 1:,} is {shown(ascii(value))[:60]}, which is no class: give names ({quoted(class_names, 3)}) "
        f"or numbers from 0 to {len(class_names) - 1}, and the same for all"
    )


def _values(data: bytes, file: str, column: str | None) -> Sequence[Any]:
    """The labels as they stand there."""
    try:
        if file.lower().endswith(".json"):
            return _of_json(strict_json.parse(data, LARGEST), file, column)
        if file.lower().endswith(".csv"):
            return _of_csv(data.decode("utf-8-sig"), file, column)
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{file} cannot be read: {unwrapped(error)}") from error
    raise DataError(f"{file} is neither .csv nor .json: give ingest.label_noise.file one of these")


def _of_json(content: Any, file: str, column: str | None) -> Sequence[Any]:
    if isinstance(content, dict):
        content = content.get(column or COLUMN)
        if not isinstance(content, list):
            raise DataError(f"{file} has no list {column or COLUMN!r}: name it in ingest.label_noise.column")
    if not isinstance(content, list):
        raise DataError(f"{file} holds neither a list of labels nor an object of lists")
    return content


def _of_csv(text: str, file: str, column: str | None) -> Sequence[Any]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    head = next(rows, [])
    wanted = column or (head[0] if len(head) == 1 else COLUMN)
    if wanted not in head:
        raise DataError(f"{file} has no column {wanted!r} but {quoted(head)}: name it in ingest.label_noise.column")
    at = head.index(wanted)
    found = []
    for row in rows:
        if row and len(row) != len(head):
            raise DataError(f"{file}: line {rows.line_num} has {counted(len(row), 'cell')}, its head {len(head)}")
        if row:
            found.append(row[at])
    return found
