"""Normalization constants: published ones of the known sets, chosen by the data set's name or by a setting, or measured on the train split.

x_normalized = (x / 255 - mean) / std, per channel, on uint8 pixels x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.config import NormalizationName
from bilp.config.normalization import AUTO, KNOWN, NORMALIZATIONS
from bilp.config.shapes import Shape
from bilp.config.sources import KnownSet, Normalization
from bilp.data.contents import counted
from bilp.errors import DataError
from bilp.text.sample_words import spoken


def check_channels(normalization: NormalizationName, channels: int, where: str) -> None:
    """Raise DataError if `normalization` names constants of another number of channels than the images have."""
    constants = NORMALIZATIONS[normalization].constants
    if constants is not None and len(constants.mean) != channels:
        stated = len(constants.mean)
        raise DataError(
            f"{where}: ingest.normalization {normalization} states {counted(stated, 'channel')}, the {spoken('images')} have "
            f"{channels}: set ingest.normalization to measured, or ingest.color to {'rgb' if stated == 3 else 'gray'}"
        )


def chosen(
    normalization: NormalizationName, known: KnownSet | None, shape: Shape, classes: int, histogram: NDArray[np.int64]
) -> Normalization:
    """The constants that `ingest.normalization` asks for: a named set's, the measured ones, or (auto) those of the `known` set.

    A copy of a known set in a folder or in Parquet has the published constants too if it lies under that name, shape and number
    of classes agree; the same pictures under the same name are then normalized alike, wherever they came from.

    Args:
        normalization: The setting.
        known: The published set that the data set's name makes it, or None (`bilp.config.normalization.known_set`).
        shape: That of its samples.
        classes: Number of its classes.
        histogram: Counts [C, 256] of the pixel values of the train split.
    """
    if normalization == AUTO.name:
        named = known.constants_of(shape, classes) if known is not None else None
    else:
        named = NORMALIZATIONS[normalization].constants
    return named or measured(histogram)


def identity(constants: Normalization, shape: Shape, classes: int, histogram: NDArray[np.int64]) -> dict[str, Any]:
    """What a fingerprint must say of `constants`; empty where pixels (`histogram` [C, 256]) and labels alone determine them.

    Constants that were not measured are stated. Measured ones follow from the pixels, so data that has them keeps the
    fingerprint, and all keys made of it, that it had before constants counted; it only says that they were measured if it has
    the shape and number of classes of a known set, because the same images may have been stored under that set's name, with
    other constants and the same fingerprint.
    """
    if constants != measured(histogram):
        return {"mean": list(constants.mean), "std": list(constants.std)}
    alike = any((known.shape, known.classes) == (shape, classes) for known in KNOWN.values())
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
