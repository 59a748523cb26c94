"""Parquet copies of public data sets as the hub has them: encoded images, labels as numbers, and names of classes in the metadata.

The class of a row is the one that the image's path says or, where that says none, the WordNet id that the metadata give its number;
else its number among the classes of the published list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from bilp.config import IngestConfig
from bilp.data.contents import Group, SplitName
from bilp.data.items import Items
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.imagenet.stems import WNID
from bilp.data.sources.layouts import Found, View
from bilp.data.sources.parquet import HuggingFaceParquet
from bilp.data.sources.parquet.file_names import is_parquet
from bilp.data.sources.parquet.labels import NUMBERS, LabelColumn
from bilp.errors import DataError

OfPath = Callable[[str], tuple[str | None, str]]
"""From an image's path to its class (None if it says none) and its canonical name ('' if it is none)."""


def is_hub_copy(view: View) -> bool:
    """Whether there are Parquet files in the top levels."""
    return any(is_parquet(entry.path) and entry.path.count("/") <= 2 for entry in view.listing.files)


def read_hub_copy(view: View, order: Sequence[str], of_path: OfPath) -> Found:
    """Both splits, row by row as the files have them; of the images nothing is read but their paths.

    Args:
        view: Where the files lie.
        order: Ids of the classes 0, 1, ... of the published list.
        of_path: What an image's path says.
    """
    source = hub_files(view.uri)
    notes: list[str] = []
    found: dict[SplitName, Gathered] = {}
    for split, columns in source.label_columns(notes).items():
        gathered = found[split] = Gathered()
        for column in columns:
            _add(view, gathered, source, column, order, of_path)
    for note in notes:
        view.note(note)
    return found


def row_groups(uri: str, items: Items) -> Iterator[Group]:
    """The encoded images of these rows."""
    told = iter(items.told())
    for group in hub_files(uri).groups(items):
        yield replace(group, origins=[next(told) for _ in group.origins])


def hub_files(uri: str) -> HuggingFaceParquet:
    """The files below an address."""
    return HuggingFaceParquet(IngestConfig(source="parquet", uri=uri))


def _add(view: View, found: Gathered, source: HuggingFaceParquet, column: LabelColumn, order: Sequence[str], of_path: OfPath) -> None:
    """The rows of a file."""
    table = column.table
    by_code = [_by_number(column, value, order) for value in column.values]
    paths = source.paths(table)
    groups = np.repeat(np.arange(len(table.group_rows)), table.group_rows).tolist()
    starts = np.cumsum((0, *table.group_rows)).tolist()
    for row, (code, path) in enumerate(zip(column.codes.tolist(), paths, strict=True)):
        said, stem = of_path(path) if path else (None, "")
        class_id = said or (by_code[code] if code >= 0 else None)
        if class_id is None:
            raise DataError(
                f"{table.where}: nothing says the class of row {row}: neither the image's path, nor names of classes that are WordNet ids, "
                f"nor a number of the {len(order):,} published ones"
            )
        group = groups[row]
        found.add_row(class_id, table.name, stem=stem, row=row - starts[group], row_group=group)


def _by_number(column: LabelColumn, value: object, order: Sequence[str]) -> str | None:
    """The class of a label by what the metadata say, or by its number if they name as many classes as the published list has, or none."""
    if column.kind != NUMBERS:
        return value if isinstance(value, str) and WNID.fullmatch(value) else None
    number, names = int(str(value)), column.names
    if number < 0:
        return None
    if names is not None and number < len(names) and WNID.fullmatch(names[number]):
        return names[number]
    return order[number] if number < len(order) and (names is None or len(names) == len(order)) else None
