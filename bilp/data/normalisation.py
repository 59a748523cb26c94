"""Normalisation constants: published ones for the known sets, otherwise measured on the train split.

x_normalised = (x / 255 - mean) / std, per channel, on uint8 pixels x.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, in units of the pixel range [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class _Known:
    shape: Shape
    classes: int
    constants: Normalisation


_CIFAR10 = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_CIFAR100 = Normalisation((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762))
_SVHN = Normalisation((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
_IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# The constants of the reference program of DC, DSA and DM (Zhao & Bilen), by name without punctuation.
_KNOWN = {
    "mnist": _Known((1, 28, 28), 10, Normalisation((0.1307,), (0.3081,))),
    "fashionmnist": _Known((1, 28, 28), 10, Normalisation((0.2861,), (0.3530,))),
    "svhn": _Known((3, 32, 32), 10, _SVHN),
    "cifar10": _Known((3, 32, 32), 10, _CIFAR10),
    "cifar100": _Known((3, 32, 32), 100, _CIFAR100),
    "tinyimagenet": _Known((3, 64, 64), 200, _IMAGENET),
    "tinyimagenet200": _Known((3, 64, 64), 200, _IMAGENET),
}


def published(name: str, shape: Shape, classes: int) -> Normalisation | None:
    """The published constants of the set called `name`, or None.

    A copy of a known set in a folder or in Parquet has them too if it lies under that name, shape [C, H, W] and
    number of classes agree; the same pictures under the same name are then normalised alike, wherever they came from.
    """
    known = _KNOWN.get(re.sub(r"[^a-z0-9]", "", name.lower()))
    return known.constants if known and (known.shape, known.classes) == (shape, classes) else None


def measured(histogram: NDArray[np.int64]) -> Normalisation:
    """Exact mean and standard deviation from the counts [C, 256] of each channel's pixel values.

    A constant channel gets the standard deviation 1: it stays constant instead of becoming infinite.
    """
    levels = np.arange(256, dtype=np.float64) / 255
    count = histogram.sum(axis=1)
    mean = histogram @ levels / count
    variance = (histogram * (levels[None] - mean[:, None]) ** 2).sum(axis=1) / count
    std = np.sqrt(variance)
    std[(histogram > 0).sum(axis=1) == 1] = 1.0
    return Normalisation(tuple(mean.tolist()), tuple(std.tolist()))
