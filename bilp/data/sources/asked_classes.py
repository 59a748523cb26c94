"""The classes that `ingest.classes` asks for: names or ids one by one, or a text file of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bilp.data import label_files
from bilp.data.contents import quoted
from bilp.data.names import spelling
from bilp.errors import DataError, MissingArtifact

SUFFIX = ".txt"


class Asked(NamedTuple):
    """Classes in order, and where they are asked for; none are asked for if `names` is empty."""

    names: tuple[str, ...]
    where: str
    of_file: bool = False

    @property
    def counting(self) -> tuple[str, ...]:
        """What a signature must say of them: the lines of a file, of which the settings tell no more than the place."""
        return self.names if self.of_file else ()


def asked_classes(classes: Sequence[str]) -> Asked:
    """The setting, or the lines of the file that it names. Raises DataError if there is no such file, or nothing in it."""
    if len(classes) != 1 or not classes[0].lower().endswith(SUFFIX):
        return Asked(tuple(classes), "ingest.classes")
    uri = classes[0]
    try:
        text = label_files.read_text(uri)
    except MissingArtifact as error:
        raise DataError(f"ingest.classes {uri}: nothing lies there: give a file with one class in each line, or the classes") from error
    names = tuple(line for line, _ in label_files.lines(text, uri))
    if not names:
        raise DataError(f"ingest.classes {uri}: is empty: write one class, by name or id, into each line")
    return Asked(names, f"ingest.classes {uri}", of_file=True)


def class_ids(asked: Asked, names: Mapping[str, str], title: str) -> tuple[str, ...]:
    """The ids that are asked for, each by itself, by its name if that is of one class, or by a line that begins with the id.

    Raises DataError for what is no class of the data set, a name of several, and a class that is asked for twice.
    """
    by_name: dict[str, list[str]] = {}
    for class_id, name in names.items():
        by_name.setdefault(spelling(name).casefold(), []).append(class_id)
    found: list[str] = []
    unknown: list[str] = []
    for text in asked.names:
        first = text.split(maxsplit=1)[0]
        ids = [text] if text in names else by_name.get(spelling(text).casefold()) or ([first] if first in names else [])
        if len(ids) > 1:
            raise DataError(f"{asked.where}: {text!r} is the name of {' and '.join(ids)}: give the id")
        found += ids
        unknown += [] if ids else [text]
    if unknown:
        raise DataError(f"{asked.where}: {quoted(unknown)} not among the {len(names):,} classes of {title}: give ids or names of its list")
    if twice := sorted({class_id for class_id in found if found.count(class_id) > 1}):
        raise DataError(f"{asked.where}: {quoted(twice)} twice: name each class once")
    return tuple(found)
