"""Labels that people gave CIFAR's training images: the files of CIFAR-N (Wei et al. 2022), which the user downloads.

CIFAR-10_human.pt holds, as NumPy arrays in the order of CIFAR's training images, clean_label, aggre_label, random_label1 to 3 and
worse_label; CIFAR-100_human.pt holds clean_label and noisy_label. Nothing that these files name is called: what they pickle is written
down by two classes here, and becomes an array if that is what it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.config.label_noise import LabelNoiseConfig
from bilp.data.alterations.noise_kinds import Labeled
from bilp.data.contents import Labels, counted, quoted
from bilp.errors import DataError
from bilp.storage import objects
from bilp.storage.pickled import load_pickled
from bilp.text.escaping import shown
from bilp.text.sample_words import spoken

LARGEST = 2**26
"""Bytes of a file; the published ones take 2.5 MB."""
CLEAN = "clean_label"


class _Type:
    """Stands for the type of an element: its code, such as i8, and the order of its bytes."""

    def __init__(self, code: object = "", *ignored: object) -> None:
        self.code = code if isinstance(code, str) else ""  # to tell of something else could take longer than the file is long

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else ""
        self.code = f"{order if order in ('<', '>') else '|'}{self.code}"


class _Array:
    """Stands for an array: what NumPy would make it of."""

    def __init__(self, *ignored: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


_STAND_INS: Mapping[str, type] = {
    **dict.fromkeys(("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.ndarray"), _Array),
    "numpy.dtype": _Type,
}


def human_labels(given: Labeled, config: LabelNoiseConfig) -> Labels:
    """The labels of the set that `config.column` names in the file at `config.file`; int64 `[N]`.

    Raises DataError if the file is none of CIFAR-N, has no such set, or was made for other images: clean_label must be the data
    set's own.
    """
    file = str(config.file)
    sets = read_label_sets(file)
    if CLEAN not in sets:
        raise DataError(f"{file} has no {CLEAN} but {quoted(sorted(sets))}: give a file of CIFAR-N, such as CIFAR-10_human.pt")
    others = sorted(sets.keys() - {CLEAN})
    if config.column is None or config.column not in others:
        named = "names no label set" if config.column is None else f"names {config.column!r}"
        raise DataError(f"ingest.label_noise.column {named}, and {file} has {quoted(others)}: name one of these")
    clean, chosen = sets[CLEAN], sets[config.column]
    for name in (CLEAN, config.column):
        if len(sets[name]) != given.total:
            raise DataError(
                f"{file}: {name} has {counted(len(sets[name]), 'label')}, and {given.where} has {counted(given.total, 'image')} in its "
                "training split: it was made for another data set"
            )
    different = int((clean[given.places] != given.labels).sum())
    if different:
        raise DataError(
            f"{file}: {CLEAN} differs from {given.where} in {different:,} of {len(given.labels):,} labels: it was made for another "
            + spoken("data set, or for another order of its images")
        )
    if chosen.min() < 0 or chosen.max() >= len(given.class_names):
        raise DataError(f"{file}: {config.column} holds {chosen.min()} to {chosen.max()}, and there are {len(given.class_names)} classes")
    return chosen[given.places]


def read_label_sets(file: str) -> dict[str, NDArray[np.int64]]:
    """The arrays of whole numbers `[n]` in a file, by name. Raises DataError if it holds anything else in their place."""
    content = load_pickled(objects.read(file, most=LARGEST), file, _STAND_INS)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise DataError(f"{file} holds no arrays by name: give a file of CIFAR-N, such as CIFAR-10_human.pt")
    return {name: _numbers(value, f"{file}: {shown(name[:60])}") for name, value in content.items()}


def _numbers(value: Any, where: str) -> NDArray[np.int64]:
    """The array `[n]` that something stands for."""
    state = value.state if isinstance(value, _Array) else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise DataError(f"{where} is no array of labels: fetch the file again")
    _, shape, kind, _, content = state
    code = kind.code if isinstance(kind, _Type) else ""
    sizes = list(shape) if isinstance(shape, tuple) and all(type(size) is int for size in shape) else None
    if sizes is None or len(sizes) != 1 or not re.fullmatch("[<>|][iu][1248]", code):
        told = f"{shown(code)[:20] or 'objects'} of shape {tuple(sizes[:9]) if sizes is not None else 'unknown'}"
        raise DataError(f"{where} holds {told:.80}, not whole numbers [n]: fetch the file again")
    if not isinstance(content, bytes) or len(content) != shape[0] * int(code[-1]) or not content:
        raise DataError(f"{where} holds other bytes than its shape {shape} says: fetch the file again")
    numbers = np.frombuffer(content, dtype=np.dtype(code))
    if numbers.max() > np.iinfo(np.int64).max:
        raise DataError(f"{where} holds {numbers.max()}, which is the number of no class")
    return numbers.astype(np.int64)
