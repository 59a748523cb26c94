"""Normalization constants: published ones of the known sets, chosen by the data set's name or by a setting, or measured on the train split.

x_normalized = (x / 255 - mean) / std, per channel, on uint8 pixels x.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.config import NormalizationName
from bilp.data.contents import counted
from bilp.errors import DataError

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, in units of the pixel range [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class _Known:
    """A set that its name, shape and number of classes make known: those, and the entry of CONSTANTS that is its own."""

    shape: Shape
    classes: int
    constants: str


# The constants of the reference program of DC, DSA and DM (Zhao & Bilen), by the values of `ingest.normalization`.
CONSTANTS: dict[str, Normalization] = {
    "mnist": Normalization((0.1307,), (0.3081,)),
    "fashion_mnist": Normalization((0.2861,), (0.3530,)),
    "svhn": Normalization((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": Normalization((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": Normalization((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

# By name without punctuation.
_KNOWN = {
    "mnist": _Known((1, 28, 28), 10, "mnist"),
    "fashionmnist": _Known((1, 28, 28), 10, "fashion_mnist"),
    "svhn": _Known((3, 32, 32), 10, "svhn"),
    "cifar10": _Known((3, 32, 32), 10, "cifar10"),
    "cifar100": _Known((3, 32, 32), 100, "cifar100"),
    "tinyimagenet": _Known((3, 64, 64), 200, "imagenet"),
    "tinyimagenet200": _Known((3, 64, 64), 200, "imagenet"),
}


def published(name: str, shape: Shape, classes: int) -> Normalization | None:
    """The published constants of the set called `name`, or None.

    A copy of a known set in a folder or in Parquet has them too if it lies under that name, shape [C, H, W] and
    number of classes agree; the same pictures under the same name are then normalized alike, wherever they came from.
    """
    known = _KNOWN.get(re.sub(r"[^a-z0-9]", "", name.lower()))
    return CONSTANTS[known.constants] if known and (known.shape, known.classes) == (shape, classes) else None


def check_channels(normalization: NormalizationName, channels: int, where: str) -> None:
    """Raise DataError if `normalization` names constants of another number of channels than the images have."""
    constants = CONSTANTS.get(normalization)
    if constants is not None and len(constants.mean) != channels:
        stated = len(constants.mean)
        raise DataError(
            f"{where}: ingest.normalization {normalization} states {counted(stated, 'channel')}, the images have "
            f"{channels}: set ingest.normalization to measured, or ingest.colour to {'rgb' if stated == 3 else 'grey'}"
        )


def chosen(normalization: NormalizationName, name: str, shape: Shape, classes: int, histogram: NDArray[np.int64]) -> Normalization:
    """The constants that `ingest.normalization` asks for: a named set's, the measured ones, or (auto) the published ones of `name`.

    Args:
        normalization: The setting.
        name: Of the data set.
        shape: [C, H, W] of its images.
        classes: Number of its classes.
        histogram: Counts [C, 256] of the pixel values of the train split.
    """
    named = published(name, shape, classes) if normalization == "auto" else CONSTANTS.get(normalization)
    return named or measured(histogram)


def identity(constants: Normalization, shape: Shape, classes: int, histogram: NDArray[np.int64]) -> dict[str, Any]:
    """What a fingerprint must say of `constants`, beside pixels and labels; empty where these alone determine them.

    Constants that were not measured are stated. Measured ones follow from the pixels, so data that has them keeps the
    fingerprint, and all keys made of it, that it had before constants counted; it only says that they were measured if it has
    the shape and number of classes of a known set, because the same images may have been stored under that set's name, with
    other constants and the same fingerprint.
    """
    if constants != measured(histogram):
        return {"mean": list(constants.mean), "std": list(constants.std)}
    alike = any((known.shape, known.classes) == (shape, classes) for known in _KNOWN.values())
    return {"normalization": "measured"} if alike else {}


def measured(histogram: NDArray[np.int64]) -> Normalization:
    """Exact mean and standard deviation from the counts [C, 256] of each channel's pixel values.

    A constant channel gets the standard deviation 1: it stays constant instead of becoming infinite.
    """
    levels = np.arange(256, dtype=np.float64) / 255
    count = histogram.sum(axis=1)
    mean = histogram @ levels / count
    variance = (histogram * (levels[None] - mean[:, None]) ** 2).sum(axis=1) / count
    std = np.sqrt(variance)
    std[(histogram > 0).sum(axis=1) == 1] = 1.0
    return Normalization(tuple(mean.tolist()), tuple(std.tolist()))
