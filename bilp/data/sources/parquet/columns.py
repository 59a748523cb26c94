"""Which column of a Parquet file holds the images, and which one the labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pyarrow as pa

from bilp.data.sources.parquet.tables import Table
from bilp.errors import DataError

# In any case; the first of the label columns is taken if several say the same.
IMAGE_COLUMNS = ("image", "img", "images", "pixel_values", "picture", "photo", "jpg", "jpeg", "png")
LABEL_COLUMNS = ("label", "labels", "fine_label", "fine_labels", "target", "targets", "class", "category", "cls", "y")
COARSE_COLUMNS = ("coarse_label", "coarse_labels")  # taken if there is no finer one
USUAL = ("image", "img", "label", "labels")  # nothing need be said about these
LABEL_WORDS = ("label", "labels", "target", "class", "category")  # as a word of a longer name

Same = Callable[[str, str], bool]


def image_column(table: Table, given: str | None) -> tuple[str, list[str]]:
    """The column of the images, and notes. Raises DataError if none or several could be meant."""
    if given is not None:
        return _given(table, given, "ingest.image_column", image_problem), []
    labels = {*LABEL_COLUMNS, *COARSE_COLUMNS}
    fit = [field.name for field in table.schema if image_problem(field.type) is None and field.name.casefold() not in labels]
    types = {field.name: field.type for field in table.schema}
    fit = [name for name in fit if _feature(table, name) in ("", "Image")]
    known = [name for name in fit if name.casefold() in IMAGE_COLUMNS]
    certain = [name for name in fit if _feature(table, name) == "Image" or pa.types.is_struct(types[name])]
    meant = known or certain or fit
    _refuse_repeated(table, meant)
    if len(meant) == 1:
        others = [name for name in fit if name != meant[0]]
        notes = [f"images: column {meant[0]} is taken; {_and(others)} could be images too (ingest.image_column)"] if others else []
        reason = "" if known else ", the only one that can hold them"
        return meant[0], notes or ([] if meant[0] in USUAL else [f"images: column {meant[0]} is taken{reason}"])
    if meant:
        raise DataError(f"{table.where}: {_and(meant)} could be the images: set ingest.image_column to one of them")
    unfit = [
        f"column {field.name!r} {image_problem(field.type)}"
        for field in table.schema
        if field.name.casefold() in IMAGE_COLUMNS and image_problem(field.type) is not None
    ]
    problem = "; ".join(unfit) or f"expected {', '.join(IMAGE_COLUMNS[:4])} or another column of encoded images; found {table.described()}"
    raise DataError(f"{table.where}: no image column: {problem}; ingest.image_column names another")


def label_column(table: Table, given: str | None, same: Same) -> tuple[str | None, list[str]]:
    """The column of the labels (None if there is none that could be meant), and notes; `same` compares two columns.

    Raises DataError if several could be meant.
    """
    if given is not None:
        return _given(table, given, "ingest.label_column", lambda _: None), []
    names = [field.name for field in table.schema]
    known = sorted((name for name in names if name.casefold() in LABEL_COLUMNS), key=lambda name: LABEL_COLUMNS.index(name.casefold()))
    coarse = [name for name in names if name.casefold() in COARSE_COLUMNS]
    meant = known or coarse or [name for name in names if _feature(table, name) == "ClassLabel"]
    meant = meant or [name for name in names if set(LABEL_WORDS) & set(re.split(r"[\W_]+", name.casefold()))]
    if not meant:
        return None, []
    _refuse_repeated(table, meant)
    first, *others = meant
    different = [name for name in others if not same(first, name)]
    if different:
        raise DataError(
            f"{table.where}: {_and([first, *different])} could be the labels, and differ: set ingest.label_column to one of them"
        )
    notes = []
    if others:
        notes.append(f"labels: column {first} is taken; {_and(others)} {'says' if len(others) == 1 else 'say'} the same")
    elif known and coarse:
        notes.append(f"labels: column {first} is taken, not {_and(coarse)} (ingest.label_column)")
    elif first not in USUAL:
        notes.append(f"labels: column {first} is taken")
    return first, notes


def no_label_column(table: Table) -> DataError:
    """The error for a file in which no column could be the labels."""
    expected = ", ".join((*LABEL_COLUMNS[:3], "target", "class"))
    return DataError(f"{table.where}: no label column: expected {expected}; found {table.described()}: set ingest.label_column to it")


def image_problem(kind: pa.DataType) -> str | None:
    """Why a column of this type holds no encoded images, or None if it can hold them."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return None if index >= 0 and is_binary(kind.field(index).type) else f"is {kind}, without a field bytes of encoded images"
    if is_binary(kind):
        return None
    if is_text(kind):
        return "holds text (paths or addresses), not images: store the bytes of the image files"
    if is_list(kind):
        inner = kind.value_type
        if image_problem(inner) is None:
            return "holds lists of images: write one row per image"
        return f"holds arrays of numbers ({kind}), not encoded images: encode each as PNG"
    return f"is {kind}, not encoded images"


def is_binary(kind: pa.DataType) -> bool:
    """Whether values are bytes, in any of Arrow's layouts."""
    if pa.types.is_dictionary(kind):
        return is_binary(kind.value_type)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text, in any of Arrow's layouts but dictionaries."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists, in any of Arrow's layouts."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view, pa.types.is_large_list_view)
    return any(test(kind) for test in tests)


def _given(table: Table, name: str, setting: str, problem: Callable[[pa.DataType], str | None]) -> str:
    count = table.schema.names.count(name)
    if count != 1:
        found = "is there more than once" if count else f"is not there; found {table.described()}"
        raise DataError(f"{table.where}: {setting} {name!r} {found}: name a column of the file")
    if (unfit := problem(table.schema.field(name).type)) is not None:
        raise DataError(f"{table.where}: {setting} {name!r} {unfit}")
    return name


def _refuse_repeated(table: Table, names: Sequence[str]) -> None:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"{table.where}: column {repeated[0]!r} is there more than once: rename or remove one")


def _feature(table: Table, name: str) -> str:
    """Kind of a column as the hub's metadata state it (Image, Audio, ClassLabel, Value), or ''."""
    described = table.features.get(name)
    return str(described.get("_type", "")) if isinstance(described, dict) else ""


def _and(names: Sequence[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1)) if len(names) < 10 else f"{', '.join(names[:9])} and {len(names) - 9} more"
