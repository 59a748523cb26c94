"""The augmentation of DC's own program for evaluation on MNIST: every image gets one operation, with parameters of its own.

Source: the program of Zhao et al. 2021 (DC), which differs from the differentiable families of `bilp.images.augment`: crops are
filled with the mean color, sizes change by nearest pixels, angles are whole and up to 45 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from bilp.config.augmentations import OPERATIONS, ImageOperation
from bilp.images.augment_rows import Side
from bilp.images.frames import are_clips, as_frames, as_samples
from bilp.nets.clips import frames_of
from bilp.registry import resolve

PADDING = 4
SCALES = (0.8, 1.2)
ANGLES = (-45, 44)
"""Both included."""
NOISE = 0.001


@dataclass(frozen=True)
class Operations:
    """What happens to each of B images."""

    names: tuple[ImageOperation, ...]
    numbers: Tensor
    """Uniform on [0, 1), float32 `[B, 2]`: the random numbers of the operations."""
    seeds: tuple[int, ...]
    """Of the noise."""

    def repeated(self, times: int) -> Self:
        """The same, so many times for each image."""
        names = tuple(name for name in self.names for _ in range(times))
        seeds = tuple(seed for seed in self.seeds for _ in range(times))
        return replace(self, names=names, numbers=self.numbers.repeat_interleave(times, dim=0), seeds=seeds)


@dataclass(frozen=True)
class Draws:
    """The random numbers of one image's operation: two, uniform on [0, 1), and the seed of the noise."""

    first: float
    second: float
    seed: int


Operation = Callable[[Tensor, Tensor, Draws], Tensor]
"""From an image `[C, H, W]`, the mean color `[C]` of its mini-batch and its random numbers to an image of the same shape."""


def draw_operations(families: Sequence[ImageOperation], count: int, stream: torch.Generator) -> Operations | None:
    """One of `families` for each of `count` images, uniformly; None if there are none, which draws nothing."""
    if not families:
        return None
    chosen = torch.randint(len(families), (count,), generator=stream).tolist()
    numbers = torch.rand(count, 2, generator=stream)
    seeds = torch.randint(2**31, (count,), generator=stream).tolist()
    return Operations(tuple(families[place] for place in chosen), numbers, tuple(seeds))


def operate(images: Tensor, operations: Operations | None) -> Tensor:
    """The augmented images, `[B, C, H, W]` to the same shape; `images` itself for None. Computed on the CPU.

    Of clips, the same happens to every frame.
    """
    if operations is None:
        return images
    if are_clips(images):
        return as_samples(operate(as_frames(images), operations.repeated(frames_of(images))), images)
    held = images.detach().cpu()
    color = held.mean(dim=(0, 2, 3))  # of the mini-batch, one value per channel
    augmented = []
    for image, name, (first, second), seed in zip(held, operations.names, operations.numbers.tolist(), operations.seeds, strict=True):
        operation: Operation = resolve(OPERATIONS[name].operation)
        augmented.append(operation(image, color, Draws(first, second, seed)))
    return torch.stack(augmented).to(images)


def crop(image: Tensor, color: Tensor, draws: Draws) -> Tensor:
    """A window of the image `[C, H, W]` in a frame of mean color, at one of 8 x 8 places."""
    channels, height, width = image.shape
    framed = color.view(-1, 1, 1).expand(channels, height + 2 * PADDING, width + 2 * PADDING).clone()
    framed[:, PADDING : PADDING + height, PADDING : PADDING + width] = image
    top, left = int(draws.first * 2 * PADDING), int(draws.second * 2 * PADDING)
    return framed[:, top : top + height, left : left + width]


def scale(image: Tensor, color: Tensor, draws: Draws) -> Tensor:
    """The image `[C, H, W]` with another height and width, in the middle of zeros, or cut to its old size."""
    low, high = SCALES
    side = (image.shape[1], image.shape[2])
    size = [max(1, int((low + (high - low) * part) * length)) for part, length in zip((draws.first, draws.second), side, strict=True)]
    resized = functional.interpolate(image.unsqueeze(0), size, mode="nearest").squeeze(0)
    longest = max(*size, *side)
    framed = image.new_zeros(len(image), longest, longest)
    top, left = ((longest - length) // 2 for length in size)
    framed[:, top : top + size[0], left : left + size[1]] = resized
    return _middle(framed, side)


def rotate(image: Tensor, color: Tensor, draws: Draws) -> Tensor:
    """The image `[C, H, W]` turned by a whole number of degrees (cubic splines), cut to its old size."""
    border = float(color.mean())
    low, high = ANGLES
    angle = low + math.floor(draws.first * (high - low + 1))
    side = (image.shape[1], image.shape[2])
    turned = ndimage.rotate(image.numpy(), angle, axes=(-2, -1), cval=border)
    if turned.shape[1] < side[0] or turned.shape[2] < side[1]:  # a long image that is turned gets shorter
        turned = ndimage.rotate(image.numpy(), angle, axes=(-2, -1), cval=border, reshape=False)
    return _middle(torch.from_numpy(np.ascontiguousarray(turned)), side)


def add_noise(image: Tensor, color: Tensor, draws: Draws) -> Tensor:
    """The image `[C, H, W]` with normal noise of its own."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(draws.seed), dtype=image.dtype)
    return image + NOISE * noise


def _middle(image: Tensor, side: Side) -> Tensor:
    top, left = ((length - wanted) // 2 for length, wanted in zip(image.shape[1:], side, strict=True))
    return image[:, top : top + side[0], left : left + side[1]]
