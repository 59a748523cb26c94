"""Files that say which class a picture or a clip has: tables with and without a header, lists, JSON, and the table of ILSVRC's devkit.

Every reader is strict: what does not fit is a DataError that names the file and its line. Text is UTF-8, with or without a byte order
mark; lines end as on Unix or on Windows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bilp.errors import DamagedArtifact, DataError
from bilp.storage import objects, strict_json
from bilp.text.escaping import shown

LARGEST = 2**28
"""Bytes of a file of labels that is read; the largest known one, of Something-Something, has 30 MB."""


@dataclass(frozen=True)
class Row:
    """A line of a file of labels: its fields by name or, in a table without a header, by position; `where` is the file and the line."""

    fields: dict[str, str]
    where: str

    def __getitem__(self, name: str) -> str:
        return self.fields[name]

    def number(self, name: str) -> int:
        """A field as an integer. Raises DataError if it is none."""
        text = self.fields[name].strip()
        digits = text.removeprefix("-")
        if not digits.isascii() or not digits.isdigit():
            raise DataError(f"{self.where}: {name} is {shown(text)!r}, which is no integer: correct the line")
        return int(text)


def read_text(uri: str) -> str:
    """A file's text. Raises DataError for one that is no UTF-8 or too large, MissingArtifact if there is none."""
    try:
        return text_of(objects.read(uri, expected=True, most=LARGEST), shown(uri))
    except DamagedArtifact as error:
        raise DataError(f"{shown(uri)}: is larger than {LARGEST:,} bytes, which no file of labels is: give the right file") from error


def text_of(data: bytes, where: str) -> str:
    """Bytes as text. Raises DataError, with the line, for what is no UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{where} line {line}: is no UTF-8 text: save the file as UTF-8") from error


def lines(text: str, where: str) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, without spaces around it, and the file with the line's number."""
    for number, line in enumerate(text.split("\n"), 1):
        if stripped := line.strip():
            yield stripped, f"{where} line {number}"


def table(text: str, where: str, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a CSV file whose first line names its columns; of them these, in any order and whatever else there is.

    Fields may be quoted. Raises DataError if a column is missing, or a row has another number of fields than the header.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in columns if name not in header]
        if missing:
            raise DataError(
                f"{where} line 1: no column {', '.join(missing)}: expected {','.join(columns)}, found {shown(','.join(header))}"
            )
        taken = {name: header.index(name) for name in (*columns, *optional) if name in header}
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            here = f"{where} line {reader.line_num}"
            if len(fields) != len(header):
                raise DataError(f"{here}: has {len(fields)} fields, the header {len(header)}: correct the line, or quote its commas")
            yield Row({name: fields[place] for name, place in taken.items()}, here)
    except csv.Error as error:
        raise DataError(f"{where} line {reader.line_num}: is no CSV ({error}): correct the line") from error


def fields(text: str, where: str, names: Sequence[str], separator: str | None = None) -> Iterator[Row]:
    """The rows of a file without a header, of exactly these fields, separated by tabs or another text, or by blanks without one.

    Raises DataError for a line with another number of fields.
    """
    for line, here in lines(text, where):
        found = [part.strip() for part in line.split(separator)]
        if len(found) != len(names):
            raise DataError(f"{here}: has {len(found)} fields, expected {len(names)} ({', '.join(names)}): correct the line")
        yield Row(dict(zip(names, found, strict=True)), here)


def named_first(text: str, where: str, names: tuple[str, str]) -> Iterator[Row]:
    """Lines of a word and whatever follows it (n01440764 tench, Tinca tinca). Raises DataError for a line of one word."""
    for line, here in lines(text, where):
        first, _, rest = line.partition("\t") if "\t" in line else line.partition(" ")
        if not rest.strip():
            raise DataError(f"{here}: has one word, expected {names[0]} and {names[1]}: correct the line")
        yield Row({names[0]: first.strip(), names[1]: rest.strip()}, here)


def named_last(text: str, where: str, names: Sequence[str]) -> Iterator[Row]:
    """Lines that end in as many words as there are names but one, after a path that may hold blanks (a clip.mp4 17).

    Separated by blanks or, where the line has no such word, by commas. Raises DataError for a line of fewer words.
    """
    for line, here in lines(text, where):
        found = line.rsplit(None, len(names) - 1)
        if len(found) != len(names) and "," in line:
            found = line.rsplit(",", len(names) - 1)
        if len(found) != len(names):
            raise DataError(f"{here}: has {len(found)} fields, expected {len(names)} ({', '.join(names)}): correct the line")
        yield Row(dict(zip(names, (part.strip() for part in found), strict=True)), here)


def numbers(text: str, where: str) -> list[int]:
    """One integer in each line. Raises DataError for any other line."""
    return [Row({"the line": line}, here).number("the line") for line, here in lines(text, where)]


def json_value(data: bytes, where: str) -> Any:
    """The value in a JSON file. Raises DataError for what is none, or is read in two ways."""
    try:
        return strict_json.parse(data.removeprefix(b"\xef\xbb\xbf"), LARGEST)
    except ValueError as error:
        line = f" line {error.lineno}" if hasattr(error, "lineno") else ""
        raise DataError(f"{where}{line}: cannot be read as JSON: {error}: fetch the file again") from error


def ilsvrc_ids(data: bytes, where: str) -> dict[int, str]:
    """The WordNet id of each ILSVRC id of `meta.mat` in the devkit, of the synsets that have images of their own: no children.

    Raises DataError if the file is no such table.
    """
    from scipy.io import loadmat  # slow to import, and needed for this one file

    try:
        synsets = loadmat(io.BytesIO(data), squeeze_me=True, mat_dtype=False)["synsets"]
        ids, names, children = (np.atleast_1d(synsets[column]) for column in ("ILSVRC2012_ID", "WNID", "num_children"))
        found = {int(number): str(name) for number, name, below in zip(ids, names, children, strict=True) if int(below) == 0}
    except Exception as error:  # the reader answers damage with ValueError, TypeError, KeyError, struct.error, zlib.error, ...
        raise DataError(f"{where}: is no table of synsets as in the devkit of ILSVRC 2012 ({error}): fetch the devkit again") from error
    if not found:
        raise DataError(f"{where}: names no synset without children: fetch the devkit again")
    return found
