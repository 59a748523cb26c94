"""Crops of real images, reduced to tiles, and images put together of tiles (RDED, Sun et al. 2024, section 4).

A crop has the proportions of its image and keeps at least a given share of its area. It is reduced to its tile as antialiased bilinear
resampling does it, written as two matrix products, so that a batch of crops of different sizes is one operation; images may be pictures
`[n, C, H, W]` or clips `[n, T, C, H, W]`, of which every frame is cut alike.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bilp.config.shapes import side_of

Side = tuple[int, int]


def tile_side(side: Side, factor: int) -> Side:
    """Height and width of a tile, factor x factor of which make an image of this side; what is left over is shared out by `stitch`."""
    return side[0] // factor, side[1] // factor


def draw_boxes(count: int, side: Side, smallest: float, stream: torch.Generator) -> Tensor:
    """Boxes int64 `[count, 4]` of crops: top, left, height and width in whole pixels.

    Their share of the area is uniform from `smallest` to 1, then their place is, as RandomResizedCrop of RDED's program draws them from
    square images; of others the crops have the proportions of the image.
    """
    drawn = torch.rand(count, 3, generator=stream, dtype=torch.float64)
    length = (smallest + (1.0 - smallest) * drawn[:, 0]).sqrt()
    columns = []
    for place, whole in enumerate(side):
        size = (length * whole).round().clamp(1, whole)
        start = (drawn[:, 1 + place] * (whole - size + 1)).floor().clamp(max=whole - size)
        columns.append((start, size))
    (top, height), (left, width) = columns
    return torch.stack([top, left, height, width], dim=1).to(torch.int64)


def cut_out(images: Tensor, boxes: Tensor, side: Side) -> Tensor:
    """The boxes `[n, 4]` of images `[n, ..., H, W]` as tiles of this side, `[n, ..., height, width]`."""
    height, width = images.shape[-2:]
    down = reduction(boxes[:, 0], boxes[:, 2], height, side[0], images)
    across = reduction(boxes[:, 1], boxes[:, 3], width, side[1], images)
    between = (1,) * (images.dim() - 3)
    down, across = (matrix.reshape(len(matrix), *between, *matrix.shape[1:]) for matrix in (down, across))
    return down @ images @ across.transpose(-1, -2)


def reduction(start: Tensor, length: Tensor, whole: int, count: int, images: Tensor) -> Tensor:
    """Matrices `[n, count, whole]` that resample pixels start to start + length - 1 of a side to `count` ones.

    A new pixel is the mean of the old ones under a triangle around its center, which is as wide as it takes to reach the next centers.

    Args:
        start: first pixels, int64 `[n]`.
        length: how many pixels, int64 `[n]`.
        whole: pixels of the side.
        count: pixels that they become.
        images: whose type and device the matrices get.
    """
    first, scale = start.to(torch.float64).view(-1, 1, 1), (length.to(torch.float64) / count).view(-1, 1, 1)
    centers = first + (torch.arange(count, dtype=torch.float64).view(1, -1, 1) + 0.5) * scale
    pixels = torch.arange(whole, dtype=torch.float64).view(1, 1, -1) + 0.5
    weights = (1.0 - (pixels - centers).abs() / scale.clamp(min=1.0)).clamp(min=0.0)
    weights = weights * ((pixels > first) & (pixels < first + length.view(-1, 1, 1)))
    return (weights / weights.sum(-1, keepdim=True)).to(images)


def framed(tiles: Tensor, side: Side) -> Tensor:
    """Tiles `[n, ..., h, w]` in the middle of images of this side that are 0 elsewhere: the mean color, of normalized images."""
    down, across = (whole - own for whole, own in zip(side, side_of(tiles.shape), strict=True))
    return functional.pad(tiles, (across // 2, across - across // 2, down // 2, down - down // 2))


def stitch(tiles: Tensor, factor: int, side: Side) -> Tensor:
    """Images `[n, ..., H, W]` of this side from tiles `[factor^2 * n, ..., h, w]`: place k of image i has tile k * n + i.

    Places follow each other row by row. Of sides that are no multiple of the factor the first tiles are a pixel larger, by the nearest
    pixel, as in RDED's program.
    """
    if factor == 1:
        return tiles
    count = len(tiles) // factor**2
    rows, columns = (_shared_out(length, factor) for length in side)
    lines = []
    for y, height in enumerate(rows):
        places = range(y * factor, (y + 1) * factor)
        parts = [_enlarged(tiles[k * count : (k + 1) * count], (height, width)) for k, width in zip(places, columns, strict=True)]
        lines.append(torch.cat(parts, dim=-1))
    return torch.cat(lines, dim=-2)


def _shared_out(length: int, parts: int) -> list[int]:
    """As many whole numbers that add up to the length, the first of them larger by one: 8 by 3 into 3, 3 and 2."""
    share, rest = divmod(length, parts)
    return [share + (number < rest) for number in range(parts)]


def _enlarged(tiles: Tensor, side: Side) -> Tensor:
    if side_of(tiles.shape) == side:
        return tiles
    enlarged: Tensor = functional.interpolate(tiles.flatten(1, -3), side, mode="nearest").unflatten(1, tiles.shape[1:-2])
    return enlarged
