"""Downsampled ImageNet (Chrabaszcz et al. 2017): train_data_batch_1.npz to _10, val_data.npz, of 8, 16, 32 or 64 pixels a side.

`data` is uint8 [n, 3 * side * side], the plane of red, then green, then blue. `labels` are 1..1000 in the order of map_clsloc.txt,
which is not that of the sorted WordNet ids: they are mapped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from bilp.data.class_lists import MAP_CLSLOC, class_order
from bilp.data.contents import Group, SplitName
from bilp.data.items import Items
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import View
from bilp.data.sources.npz import read_array, read_rows, stored_arrays
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

GROUP = 256
_NAMES = re.compile(r"(?:.*/)?(?:(?P<train>train_data_batch_(?P<number>\d+))|val_data)(?P<suffix>\.npz)?")


def is_downsampled(view: View) -> bool:
    """Whether the batches are there, by their names."""
    return any(entry.path.count("/") < 2 and _NAMES.fullmatch(entry.path) for entry in view.listing.files)


def read_downsampled(view: View) -> dict[SplitName, Gathered]:
    """Both splits, in the order of the batches' numbers. Raises DataError for pickled batches, and arrays of another kind."""
    named = [(found, entry) for entry in view.listing.files if (found := _NAMES.fullmatch(entry.path))]
    pickled = [entry.path for found, entry in named if not found["suffix"]]
    batches = sorted(
        ((int(found["number"] or 0), entry.path, bool(found["train"])) for found, entry in named if found["suffix"]),
        key=lambda batch: (not batch[2], batch[0], batch[1]),
    )
    if not batches:
        raise DataError(
            f"{view.where}: {', '.join(map(shown, pickled[:3]))} are pickles, which can run code and are never read: fetch the .npz files "
            "of the same batches (train_data_batch_1.npz, val_data.npz)"
        )
    if pickled:
        view.note(f"passed over {len(pickled)} batches without the suffix .npz: pickles are never read")
    splits: dict[SplitName, Gathered] = {}
    for _, path, train in batches:
        _add(view, path, splits.setdefault("train" if train else "test", Gathered()))
    if "train" not in splits:
        raise DataError(f"{view.where}: no training images: expected train_data_batch_1.npz and so on")
    return splits


def pixel_groups(uri: str, items: Items) -> Iterator[Group]:
    """The pixels, uint8 [n, side, side, 3], of rows of the batches below `uri`."""
    for path, part in items.by_file():
        told, rows = part.told(), part.row
        first = int(rows[0])
        for number, found in enumerate(read_rows(objects.join(uri, path), "data", first, int(rows[-1]) + 1, GROUP)):
            here = np.flatnonzero((rows - first) // GROUP == number)
            side = math.isqrt(found.shape[1] // 3)
            pixels = found[rows[here] - first - number * GROUP].reshape(-1, 3, side, side).transpose(0, 2, 3, 1)
            if len(here):
                yield Group([told[place] for place in here.tolist()], np.ascontiguousarray(pixels, dtype=np.uint8))


def _add(view: View, path: str, found: Gathered) -> None:
    uri, where = objects.join(view.uri, path), f"{view.where}/{shown(path)}"
    arrays = stored_arrays(uri)
    if lacking := {"data", "labels"} - set(arrays):
        raise DataError(f"{where}: no array {' and '.join(sorted(lacking))}: found {', '.join(map(shown, arrays)) or 'none'}")
    data = arrays["data"]
    if data.dtype != np.uint8 or len(data.shape) != 2 or 3 * math.isqrt(data.shape[1] // 3) ** 2 != data.shape[1] or not data.shape[1]:
        raise DataError(f"{where}: data is {data.dtype} {list(data.shape)}, expected uint8 [n, 3 * side * side]: fetch the file again")
    labels = np.asarray(read_array(uri, "labels"))
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != data.shape[:1]:
        raise DataError(f"{where}: labels are {labels.dtype} {list(labels.shape)}, expected {data.shape[0]:,} integers")
    order = class_order(MAP_CLSLOC)
    wrong = np.flatnonzero((labels < 1) | (labels > len(order)))
    if len(wrong):
        raise DataError(f"{where}: label {labels[wrong[0]]} of row {wrong[0]} is outside 1..{len(order)} ({len(wrong)} such labels)")
    for row, label in enumerate(labels.tolist()):
        found.add_row(order[label - 1], path, stem="", row=row)
