"""Decoding: from the images that are stored to those that networks are trained on (IDC; Kim et al. 2022, section 4).

A stored image is cut into factor x factor parts, and each part is enlarged to a whole image. So a budget of few stored
images holds many coarser ones. With factor 2 and kind single this is the partition and expansion of IDM (Zhao et al. 2023).

Enlarging is bilinear, written as two matrix products: unlike the library's function, its derivative is summed in a fixed
order on every device. It commutes with the normalization of the pixels, so images are decoded as they are, normalized.

Of a clip every frame is cut alike, and the parts at one place are a clip of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from bilp.config.decode import DecodeConfig
from bilp.images.device_constants import on_device
from bilp.images.frames import are_clips, in_channels, out_of_channels
from bilp.nets.clips import frames_of

Shrinking = Literal["nearest", "bilinear"]
GRAY = 0.5
"""Pixel in [0, 1] that fills up a side which is no multiple of the factor, on the right and at the bottom."""


def gray(mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu") -> Tensor:
    """The filling, normalized: float32 `[C]`. Do not write into it."""
    return on_device(_gray, tuple(mean), tuple(std), device=device)


def _gray(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return torch.tensor([(GRAY - center) / scale for center, scale in zip(mean, std, strict=True)], dtype=torch.float32)


def decode_class(images: Tensor, config: DecodeConfig, filling: Tensor) -> Tensor:
    """The images of one class `[M, C, H, W]` to the decoded ones `[config.count(M), C, H, W]`, differentiable.

    `filling` `[C]` is what `gray` gives. Factor 1 of kind single returns `images` itself.
    """
    if config.kind == "single":
        return enlarge_parts(images, config.factor, filling)
    if config.kind == "multi":
        return torch.cat([enlarge_parts(images, factor, filling) for factor in range(1, config.factor + 1)])
    shares = config.shares(len(images))
    groups = images.split([number for _, number in shares])
    return torch.cat([enlarge_parts(group, factor, filling) for group, (factor, _) in zip(groups, shares, strict=True)])


def decode_classes(images: Tensor, config: DecodeConfig, filling: Tensor, classes: int) -> Tensor:
    """`decode_class` of several classes `[classes * M, C, H, W]` at once: class by class `[classes * config.count(M), C, H, W]`."""
    if config.kind == "single":
        return enlarge_parts(images, config.factor, filling)
    stored = images.unflatten(0, (classes, -1))
    if config.kind == "multi":
        groups = [(factor, stored) for factor in range(1, config.factor + 1)]
    else:
        shares = config.shares(stored.shape[1])
        parts = stored.split([number for _, number in shares], dim=1)
        groups = [(factor, part) for part, (factor, _) in zip(parts, shares, strict=True)]
    decoded = [enlarge_parts(part.flatten(0, 1), factor, filling).unflatten(0, (classes, -1)) for factor, part in groups]
    return torch.cat(decoded, dim=1).flatten(0, 1)


def decode_set(images: Tensor, labels: Tensor, config: DecodeConfig, filling: Tensor) -> tuple[Tensor, Tensor]:
    """Every class of `[N, C, H, W]` with labels `[N]`, decoded on its own: images and labels, ascending by label.

    Factor 1 returns what was given, in its order.
    """
    if config.factor == 1:
        return images, labels
    classes = labels.unique().tolist()
    decoded = [decode_class(images[labels == c], config, filling) for c in classes]
    repeats = torch.tensor([len(part) for part in decoded], device=labels.device)
    return torch.cat(decoded), torch.tensor(classes, dtype=labels.dtype, device=labels.device).repeat_interleave(repeats)


def enlarge_parts(images: Tensor, factor: int, filling: Tensor) -> Tensor:
    """The factor x factor parts of each image, enlarged to whole ones: `[M, C, H, W]` to `[M * factor^2, C, H, W]`.

    The parts of one image follow each other, row by row. A side that is no multiple of the factor is filled up first.
    """
    if factor == 1:
        return images
    if are_clips(images):
        return out_of_channels(enlarge_parts(in_channels(images), factor, filling.repeat(frames_of(images))), images)
    count, channels, *side = images.shape
    height, width = (-(-length // factor) for length in side)
    padded = _fill_up(images, (height * factor, width * factor), filling)
    parts = padded.reshape(count, channels, factor, height, factor, width).permute(0, 2, 4, 1, 3, 5)
    down, across = (
        on_device(_enlargement, small, whole, device=images.device, dtype=images.dtype)
        for small, whole in zip((height, width), side, strict=True)
    )
    return (down @ parts.reshape(-1, channels, height, width)) @ across.T


def shrink(images: Tensor, height: int, width: int, how: Shrinking = "nearest") -> Tensor:
    """On a coarser grid the nearest pixel, or a bilinear mixture of up to four: `[n, C, H, W]` to `[n, C, height, width]`."""
    return functional.interpolate(images, (height, width), mode=how)


def mosaic(images: Tensor, factor: int, how: Shrinking = "nearest") -> Tensor:
    """Every factor^2 consecutive images `[n * factor^2, C, H, W]` as one of the same size, each shrunk into its part.

    The last parts of a side that is no multiple of the factor are smaller, and so are the images in them (IDC's program does the
    same where it cuts as it decodes, such as 32 pixels into 11, 11 and 10; condense.py:72).
    """
    if factor == 1:
        return images
    if are_clips(images):
        return out_of_channels(mosaic(in_channels(images), factor, how), images)
    rows, columns = (_cuts(length, factor) for length in images.shape[2:])
    lines = []
    for y, height in enumerate(rows):
        parts = [shrink(images[y * factor + x :: factor**2], height, width, how) for x, width in enumerate(columns)]
        lines.append(torch.cat(parts, dim=3))
    return torch.cat(lines, dim=2)


def _cuts(length: int, factor: int) -> list[int]:
    """The lengths of the parts that decoding cuts a side into, less what it fills up: 32 by 3 into 11, 11 and 10; 4 by 3 into 2 and 2."""
    part = -(-length // factor)
    return [min(part, length - start) for start in range(0, length, part)]


def _fill_up(images: Tensor, side: tuple[int, int], filling: Tensor) -> Tensor:
    """Images of at least this side, `filling` on the right and at the bottom."""
    height, width = images.shape[2:]
    if (height, width) == side:
        return images
    padded = filling.to(images).view(1, -1, 1, 1).expand(len(images), -1, *side).clone()
    padded[..., :height, :width] = images
    return padded


def _enlargement(small: int, whole: int) -> Tensor:
    """Matrix `[whole, small]` of linear interpolation between the centers of pixels; beyond the first and last it is constant."""
    places = ((torch.arange(whole, dtype=torch.float64) + 0.5) * small / whole - 0.5).clamp(0.0, small - 1.0)
    distance = (places.unsqueeze(1) - torch.arange(small, dtype=torch.float64)).abs()
    return (1.0 - distance).clamp(min=0.0)
