"""One view of a batch of images: a crop in their former size, mirrored or not, rolled, the same for all of them (SRe2L, Yin et al. 2023).

A view is linear in the images and acts on rows and columns apart, so that it is two matrix products. Their derivatives sum in a fixed
order on every device, and can be differentiated again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.images.tiles import Side, reduction

WIDEST = 4 / 3
"""Width by height of a crop is between 1 / WIDEST and this, uniform in its logarithm, as RandomResizedCrop draws it."""
TRIES = 10
"""Crops that are drawn until one fits the image; after these the whole image is one."""


@dataclass(frozen=True)
class View:
    """What is done to every image of a batch."""

    box: tuple[int, int, int, int]
    """Top, left, height and width of the crop, in pixels."""
    mirrored: bool = False
    """Whether left and right are exchanged, after the crop."""
    rolled: tuple[int, int] = (0, 0)
    """Pixels by which the result is moved down and to the right; what leaves it comes in on the other side."""

    def __call__(self, images: Tensor) -> Tensor:
        """The view of images `[n, C, H, W]`, or of every frame of clips `[n, T, C, H, W]`; images themselves that it leaves as they are."""
        side = (images.shape[-2], images.shape[-1])
        if self == View((0, 0, *side)):
            return images
        top, left, height, width = self.box
        down, across = (_matrix(start, length, whole, images) for start, length, whole in ((top, height, side[0]), (left, width, side[1])))
        if self.mirrored:
            across = across.flip(0)
        down, across = down.roll(self.rolled[0], 0), across.roll(self.rolled[1], 0)
        return down @ images @ across.T


def _matrix(start: int, length: int, whole: int, images: Tensor) -> Tensor:
    """What resamples part of a side to the whole of it, `[whole, whole]`."""
    found = reduction(torch.tensor([start]), torch.tensor([length]), whole, whole, images)
    return found[0]


def draw_view(side: Side, smallest: float, mirror: bool, roll: int, stream: torch.Generator) -> View:
    """A random view; however it comes out, as many numbers are drawn from the stream.

    Args:
        side: height and width of the images.
        smallest: share of the area that the crop keeps at least, uniform up to 1; with 1 there is no crop.
        mirror: whether half of the views are mirrored.
        roll: pixels of each roll, at most, uniform from 0.
        stream: what is drawn from.
    """
    drawn = torch.rand(TRIES, 4, generator=stream, dtype=torch.float64).tolist()
    mirrored, down, across = torch.rand(3, generator=stream, dtype=torch.float64).tolist()
    box = next(filter(None, (_box(side, smallest, *numbers) for numbers in drawn)), None) if smallest < 1.0 else None
    return View(box or (0, 0, *side), mirror and mirrored < 0.5, (int(down * (roll + 1)), int(across * (roll + 1))))


def _box(side: Side, smallest: float, share: float, shape: float, down: float, across: float) -> tuple[int, int, int, int] | None:
    """The crop that four numbers from 0 to 1 mean; None if it is larger than the image."""
    area = side[0] * side[1] * (smallest + (1.0 - smallest) * share)
    ratio = math.exp((2.0 * shape - 1.0) * math.log(WIDEST))
    height, width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
    if not (0 < height <= side[0] and 0 < width <= side[1]):
        return None
    return int(down * (side[0] - height + 1)), int(across * (side[1] - width + 1)), height, width


def smallest_crop(smallest: float, curriculum: float, iteration: int, iterations: int) -> float:
    """Least share of the area that a crop keeps at an iteration: from 1 to `smallest` along half a cosine, then `smallest` (CDA).

    Args:
        smallest: where it ends.
        curriculum: share of the iterations that the way takes; 0 is there from the beginning.
        iteration: number of the iteration, from 0.
        iterations: of the whole run.
    """
    way = curriculum * iterations
    if iteration >= way:
        return smallest
    return smallest + (1.0 - smallest) * (1.0 + math.cos(math.pi * iteration / way)) / 2.0
