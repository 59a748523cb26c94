"""Siamese augmentation of all classes in a fixed number of kernels, which a CUDA graph can hold.

Every family of `bilp.images.augment` is the same three maps with other numbers: a resampling at positions that are affine in the
pixel's place, a map of colors, a rectangle of zeros. So a class is described by a row of 14 numbers, drawn on the host as ever, and
its resampling is one [HW, HW] matrix of products of hat functions: a batched matrix product, whose backward pass is one too, in a
fixed order. No branch, no gather, no scatter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilp.images.augment import AugParams

# Source position = A (y, x) + t, from the center: a00 a01 t0 a10 a11 t1; then brightness, saturation, contrast and whether colors
# change at all; then the first and last row and the first and last column of what is cut out.
IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0, 0.0, -1.0]


def row_of(params: AugParams | None, side: tuple[int, int]) -> list[float]:
    """The numbers of one class from parameters that hold for a whole batch (values `[1]`); `side` is height and width."""
    row = list(IDENTITY)
    while params is not None:
        values = {name: float(value) for name, value in params.values.items()}
        if params.family == "flip" and values["mirrored"]:
            row[4] = -1.0
        elif params.family == "crop":
            row[2], row[5] = values["down"], values["right"]
        elif params.family == "scale":
            row[0], row[4] = values["vertical"], values["horizontal"]
        elif params.family == "rotate":
            angle = values["degrees"] * math.pi / 180.0
            row[0:2], row[3:5] = [math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]
        elif params.family == "color":
            row[6:10] = [values["brightness"], values["saturation"], values["contrast"], 1.0]
        elif params.family == "cutout":
            row[10:12], row[12:14] = _cut(side[0], values["row"]), _cut(side[1], values["column"])
        params = params.then
    return row


def apply_rows(images: Tensor, rows: Tensor) -> Tensor:
    """Augmented images `[K, M, C, H, W]` of K classes from `rows` `[K, 14]`; differentiable with respect to the images."""
    classes, number, channels, height, width = images.shape
    matrix = _resampling(rows, height, width, images)
    moved = torch.bmm(images.reshape(classes, number * channels, height * width), matrix.transpose(1, 2))
    moved = moved.view(classes, number, channels, height, width)
    scalar = rows.view(classes, -1, 1, 1, 1, 1)
    bright = moved + scalar[:, 6]
    gray = bright.mean(2, keepdim=True)
    saturated = (bright - gray) * scalar[:, 7] + gray
    mean = saturated.mean((2, 3, 4), keepdim=True)
    toned = torch.where(scalar[:, 9] > 0, (saturated - mean) * scalar[:, 8] + mean, moved)
    y, x = _places(height, width, images)
    edge = rows.view(classes, -1, 1, 1)
    cut = (y >= edge[:, 10]) & (y <= edge[:, 11]) & (x >= edge[:, 12]) & (x <= edge[:, 13])
    return toned.masked_fill(cut.view(classes, 1, 1, height, width), 0.0)


def _cut(length: int, offset: float) -> list[float]:
    """First and last place of the half that cutout takes along one axis."""
    size = int(0.5 * length + 0.5)
    first = offset - size // 2
    return [min(max(place, 0.0), length - 1.0) for place in (first, first + size - 1)]


def _places(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows `[1, H, 1]` and columns `[1, 1, W]`."""
    y = torch.arange(height, device=like.device, dtype=like.dtype).view(1, height, 1)
    return y, torch.arange(width, device=like.device, dtype=like.dtype).view(1, 1, width)


def _resampling(rows: Tensor, height: int, width: int, like: Tensor) -> Tensor:
    """Bilinear weights `[K, HW, HW]` of every source pixel for every pixel."""
    entry = rows.view(len(rows), -1, 1, 1)
    y, x = _places(height, width, like)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    source_y = entry[:, 0] * (y - middle_y) + entry[:, 1] * (x - middle_x) + (entry[:, 2] + middle_y)
    source_x = entry[:, 3] * (y - middle_y) + entry[:, 4] * (x - middle_x) + (entry[:, 5] + middle_x)
    hat_y = (1 - (source_y.reshape(len(rows), -1, 1) - y.view(1, 1, height)).abs()).clamp(min=0)
    hat_x = (1 - (source_x.reshape(len(rows), -1, 1) - x.view(1, 1, width)).abs()).clamp(min=0)
    return (hat_y.unsqueeze(3) * hat_x.unsqueeze(2)).view(len(rows), height * width, height * width)
