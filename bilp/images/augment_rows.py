"""What happens to an image as a row of numbers, so that one sequence of operations carries out every augmentation (`apply_rows`).

Each family of `bilp.images.augment` is one of three maps: colors change linearly, pixels come from places that are affine in their own,
a rectangle becomes zero. A row holds all three, in this order, so it also says several families that follow each other so.

A row is `[9, 2]`: the first seven pairs are (x, y), in units in which an image reaches from -1 to 1 (edges of the outer pixels), as
`grid_sample` counts. With p the place of a pixel and s the place that it is taken from,

    s = p_x * row[BY_X] + p_y * row[BY_Y] + row[SHIFT], held between row[LOW] and row[HIGH],

and nothing is taken where |p - row[CENTER]| <= row[HALF] in both directions. The last two pairs are the factors of the pixel itself,
of the mean of its channels, of the mean of the image, and a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

BY_X, BY_Y, SHIFT, LOW, HIGH, CENTER, HALF, OWN_AND_GRAY, MEAN_AND_CONSTANT = range(9)
PLACES = slice(BY_X, HALF + 1)
COLORS = slice(OWN_AND_GRAY, MEAN_AND_CONSTANT + 1)

Side = tuple[int, int]
Rows = NDArray[np.float64]
"""`[n, 9, 2]`."""
Numbers = Mapping[str, NDArray[Any]]
"""Parameters of a family by name, each `[n]`."""


class Part(Enum):
    """Which part of a row a family fills."""

    COLOR = auto()
    MIRROR = auto()
    """A place for every pixel: before or after any other places without a second interpolation, and alike for colors."""
    PLACE = auto()
    ERASE = auto()


# What may already be said by a row to which a family is added, so that the row still says both, one after the other.
_AFTER = {
    Part.COLOR: {Part.MIRROR},
    Part.MIRROR: {Part.COLOR, Part.MIRROR, Part.PLACE},
    Part.PLACE: {Part.COLOR, Part.MIRROR},
    Part.ERASE: {Part.COLOR, Part.MIRROR, Part.PLACE},
}


def follows(part: Part, said: set[Part]) -> bool:
    """Whether a row that says the parts `said` can also say that `part` comes after them."""
    return said <= _AFTER[part]


def identity(count: int, side: Side) -> Rows:
    """Rows of images that stay as they are. Places are held one pixel beyond the border, where everything is zero."""
    row = np.zeros((count, 9, 2))
    row[:, BY_X, 0] = row[:, BY_Y, 1] = 1.0
    row[:, HALF] = -1.0
    row[:, OWN_AND_GRAY, 0] = 1.0
    hold(row, side, 1.0)
    return row


def hold(rows: Rows, side: Side, beyond: float) -> None:
    """Places that are `beyond` pixels outside of the outermost pixels' centers, or farther, become those."""
    height, width = side
    rows[:, HIGH] = ((width - 1 + 2 * beyond) / width, (height - 1 + 2 * beyond) / height)
    rows[:, LOW] = -rows[:, HIGH]


def erase(rows: Rows, side: Side, axis: int, first: NDArray[Any], last: NDArray[Any]) -> None:
    """Nothing is taken at pixels `first` to `last`, both included, of the vertical axis (0) or the horizontal one (1)."""
    length, pair = side[axis], 1 - axis
    rows[:, CENTER, pair] = (first + last - (length - 1)) / length
    rows[:, HALF, pair] = (last - first + 0.5) / length  # a quarter of a pixel more than the centers of the outer ones


def one_after_the_other(first: Rows, part: Part, second: Rows) -> Rows:
    """Rows that say `first` and then `second`, which fills `part` alone; see `follows`."""
    result = first.copy()
    if part is Part.COLOR:
        result[:, COLORS] = second[:, COLORS]
    elif part is Part.ERASE:
        result[:, CENTER : HALF + 1] = second[:, CENTER : HALF + 1]
    else:  # the second image's places are looked up in the first
        matrix = first[:, BY_X : BY_Y + 1]
        result[:, BY_X : BY_Y + 1] = second[:, BY_X : BY_Y + 1] @ matrix
        result[:, SHIFT] = (second[:, SHIFT : SHIFT + 1] @ matrix)[:, 0] + first[:, SHIFT]
        result[:, HIGH] = np.minimum(first[:, HIGH], second[:, HIGH])
        result[:, LOW] = -result[:, HIGH]
    return result
