"""Augmentation by rows of numbers (`augment_rows`): about a dozen operations for all classes, families and images at once.

Neither sizes nor branches depend on what was drawn, and all sums, also those of the derivatives, have a fixed order on every device.
Values differ from those of the families by rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.images.augment_rows import BY_X, BY_Y, CENTER, COLORS, HALF, HIGH, LOW, SHIFT
from bilp.images.device_constants import on_device
from bilp.images.resampling import sample_in_order

# A place outside of every image, also one of a single pixel: what is taken from there is zero.
OUTSIDE = 4.0


def apply_rows(images: Tensor, rows: Tensor, sizes: Sequence[int] | None = None, *, colors: bool = True, moves: bool = True) -> Tensor:
    """The augmented images, `[N, C, H, W]` to the same shape; linear in them up to a constant, and differentiable twice.

    Args:
        images: of K groups, one after the other.
        rows: `[steps, K, 9, 2]` on the images' device; the steps are applied in order.
        sizes: images of each group; without them all groups are equally large.
        colors: whether any row changes colors.
        moves: whether any row takes pixels from elsewhere or erases some.
    """
    count, side = len(images), (images.shape[-2], images.shape[-1])
    for step in rows.to(images.dtype).unbind():
        if colors:
            images = _toned(images, _for_each(step[:, COLORS].flatten(1), count, sizes))
        if moves:
            images = sample_in_order(images, _for_each(positions(step, side), count, sizes))
    return images


def positions(rows: Tensor, side: tuple[int, int]) -> Tensor:
    """Where each pixel is taken from, as `grid_sample` wants it: rows `[K, 9, 2]` to `[K, H, W, 2]`."""
    pixels = on_device(_pixels, *side, device=rows.device, dtype=rows.dtype)
    entry = rows.view(len(rows), 9, 1, 1, 2).unbind(1)
    from_y = torch.addcmul(entry[SHIFT], entry[BY_Y], pixels[:, :1, 1:])
    source = torch.addcmul(from_y, entry[BY_X], pixels[:1, :, :1]).clamp(entry[LOW], entry[HIGH])
    erased = ((pixels - entry[CENTER]).abs() <= entry[HALF]).all(dim=-1, keepdim=True)
    return source.masked_fill(erased, OUTSIDE)


def _pixels(height: int, width: int) -> Tensor:
    """The places (x, y) of the pixels' centers, `[H, W, 2]`."""
    y, x = ((2 * torch.arange(length, dtype=torch.float64) - (length - 1)) / length for length in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def _for_each(values: Tensor, count: int, sizes: Sequence[int] | None) -> Tensor:
    """What holds for groups `[K, ...]` for each of their images `[count, ...]`."""
    groups = len(values)
    if sizes is None or len(set(sizes)) == 1:
        each = count // groups
        return values if each == 1 else values.unsqueeze(1).expand(groups, each, *values.shape[1:]).flatten(0, 1)
    return torch.cat([own.expand(size, *values.shape[1:]) for own, size in zip(values.split(1), sizes, strict=True)])


def _toned(images: Tensor, numbers: Tensor) -> Tensor:
    """own * x + gray * (mean of the channels) + mean * (mean of the image) + constant; numbers `[N, 4]`, images `[N, C, H, W]`."""
    own, gray, mean, constant = numbers.view(-1, 4, 1, 1, 1).unbind(1)
    of_channels = images.mean(dim=1, keepdim=True)
    level = torch.addcmul(constant, mean, of_channels.mean(dim=(2, 3), keepdim=True))
    return torch.addcmul(torch.addcmul(level, gray, of_channels), own, images)
