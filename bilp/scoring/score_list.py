"""Score lists: the JSON files published with BiLP's preview code, a plain array of numbers in data set order."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bilp.errors import DataError

LARGEST = 2**28
"""Bytes of a file; a list for ImageNet takes about 25 MB."""

# Sizes of the training splits whose lists were published, to name the likely mix-up.
KNOWN_SIZES = {50_000: "CIFAR-10 or CIFAR-100", 60_000: "MNIST or FashionMNIST", 73_257: "SVHN", 100_000: "TinyImageNet"}


def parse_score_list(data: bytes, uri: str, train: int, test: int) -> NDArray[np.float64]:
    """Scores [train] from the bytes of the list at `uri`, for a data set with that many train and test samples.

    Raises DataError if the bytes are not a JSON array of finite numbers, or if there is not one number per sample of
    the train split.
    """
    try:
        values = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # undecodable text, broken or too deeply nested JSON
        raise DataError(f"score list {uri} is not a JSON array of finite numbers: {error}") from error
    if not isinstance(values, list):
        raise DataError(f"score list {uri} must be one JSON array of numbers; it is {_kind(values)}")
    for index, value in enumerate(values):
        if type(value) not in (int, float):
            raise DataError(f"score list {uri}: entry {index} is {_kind(value)}, not a number")
    if len(values) != train:
        raise DataError(
            f"score list {uri} has {len(values)} scores, but the train split has {train} samples: {_reason(len(values), train, test)}"
        )
    try:
        scores = np.array(values, dtype=np.float64)
    except OverflowError:  # a whole number beyond the range of floats
        scores = np.full(1, np.inf)
    if not np.isfinite(scores).all():
        raise DataError(f"score list {uri} holds numbers beyond the range of floats: every score must be finite")
    return scores


def _reason(found: int, train: int, test: int) -> str:
    if found == test:
        return "it has the size of the test split; scores must be of the train split"
    if found == train + test:
        return "it has the size of both splits together; scores must be of the train split only"
    if found in KNOWN_SIZES:
        return f"it has the size of the train split of {KNOWN_SIZES[found]}, so it was probably made for that data set"
    if found < train:
        return "it was probably made for another data set or for a subset of this one"
    return "it was probably made for another data set, or before samples were removed from this one"


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "a text",
        bool: "true or false",
        type(None): "null",
        int: "a number",
        float: "a number",
    }
    return names[type(value)]
