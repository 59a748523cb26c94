"""The families of differentiable siamese augmentation (DSA; Zhao & Bilen 2021, section 3) and that of ImageNet's protocols.

Each is computed image by image here, which is the reference; what it writes into rows of numbers says the same for `apply_rows`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bilp.images.augment_rows import BY_X, BY_Y, MEAN_AND_CONSTANT, OWN_AND_GRAY, SHIFT, Numbers, Part, Rows, Side, erase, hold
from bilp.images.resampling import sample_bilinearly

Values = dict[str, Tensor]

# Strengths of the paper's program, the same for every data set: class ParamDiffAug of Zhao & Bilen's utils.py (line 495), which
# also has those of color (brightness 1, saturation 2, contrast 0.5) that STRENGTHS spells as ranges.
STRENGTHS = {"brightness": (-0.5, 0.5), "saturation": (0.0, 2.0), "contrast": (0.5, 1.5)}
CROP_SHARE = 0.125
CUTOUT_SHARE = 0.5
FLIP_PROBABILITY = 0.5
LARGEST_SCALE = 1.2
LARGEST_ANGLE = 15.0
# RandomResizedCrop of the ImageNet protocols (torchvision's defaults): share of the area, ratio of the sides, and how often a box is
# drawn before the whole image is taken.
CROPPED_AREA = (0.08, 1.0)
CROPPED_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10


@dataclass(frozen=True)
class Family:
    """How the parameters of `count` images of a side are drawn, and how they change images `[B, C, H, W]`, in two ways."""

    raw: Callable[[Side, torch.Generator, int], Values]
    """What a generator gives for them."""
    apply: Callable[[Tensor, Values], Tensor]
    part: Part
    """The part of a row of numbers that says the same."""
    fill: Callable[[Rows, Numbers, Side], None]
    """Write it into rows `[n, 9, 2]` of images that stay as they are."""
    finish: Callable[[Values], Values] = dict
    """From what generators gave to the parameters, number by number, so that those of many draws may be finished together."""

    def draw(self, side: Side, generator: torch.Generator, count: int) -> Values:
        """The parameters of `count` images."""
        return self.finish(self.raw(side, generator, count))


def _unit(generator: torch.Generator, count: int) -> Tensor:
    """Uniform on [0, 1)."""
    return torch.rand(count, generator=generator, device=generator.device)


def _between(low: float, high: float, unit: Tensor) -> Tensor:
    return unit * (high - low) + low


def _integer(low: int, high: int, generator: torch.Generator, count: int) -> Tensor:
    """Uniform on low..high, both included."""
    return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device)


def _per_image(value: Tensor, images: Tensor) -> Tensor:
    """`[n]` to `[n, 1, 1, 1]` in the images' precision."""
    return value.to(images.dtype).view(-1, 1, 1, 1)


def _draw_color(side: Side, generator: torch.Generator, count: int) -> Values:
    return {name: _unit(generator, count) for name in STRENGTHS}


def _finish_color(drawn: Values) -> Values:
    return {name: _between(*STRENGTHS[name], unit) for name, unit in drawn.items()}


def _color(images: Tensor, values: Values) -> Tensor:
    """Brightness is added; saturation scales around the mean of the channels, contrast around that of the image."""
    images = images + _per_image(values["brightness"], images)
    gray = images.mean(1, keepdim=True)
    images = (images - gray) * _per_image(values["saturation"], images) + gray
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * _per_image(values["contrast"], images) + mean


def _fill_color(rows: Rows, values: Numbers, side: Side) -> None:
    saturation, contrast = values["saturation"], values["contrast"]
    rows[:, OWN_AND_GRAY] = np.stack([contrast * saturation, contrast * (1 - saturation)], axis=-1)
    rows[:, MEAN_AND_CONSTANT] = np.stack([1 - contrast, values["brightness"]], axis=-1)


def _draw_crop(side: Side, generator: torch.Generator, count: int) -> Values:
    reach = [int(CROP_SHARE * length + 0.5) for length in side]
    return {name: _integer(-r, r, generator, count) for name, r in zip(("down", "right"), reach, strict=True)}


def _crop(images: Tensor, values: Values) -> Tensor:
    """A window shifted by whole pixels: pixel (i, j) shows what was at (i + down, j + right), zero outside."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device).view(-1, 1) + values["down"].view(-1, 1, 1)
    columns = torch.arange(width, device=images.device) + values["right"].view(-1, 1, 1)
    return _pick(images, rows, columns)


def _fill_crop(rows: Rows, values: Numbers, side: Side) -> None:
    rows[:, SHIFT] = np.stack([2 * values["right"] / side[1], 2 * values["down"] / side[0]], axis=-1)


def _draw_cutout(side: Side, generator: torch.Generator, count: int) -> Values:
    sizes = [int(CUTOUT_SHARE * length + 0.5) for length in side]
    offsets = [_integer(0, length - size % 2, generator, count) for length, size in zip(side, sizes, strict=True)]
    return {"row": offsets[0], "column": offsets[1]}


def _cutout(images: Tensor, values: Values) -> Tensor:
    """A square of half the side is set to zero; centered near the border it shrinks, since it is clamped to the image."""
    inside = []
    for length, offset in zip(images.shape[-2:], (values["row"], values["column"]), strict=True):
        size = int(CUTOUT_SHARE * length + 0.5)
        first = (offset - size // 2).clamp(0, length - 1).view(-1, 1)
        last = (offset - size // 2 + size - 1).clamp(0, length - 1).view(-1, 1)
        positions = torch.arange(length, device=images.device)
        inside.append((positions >= first) & (positions <= last))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(square, 0.0)


def _fill_cutout(rows: Rows, values: Numbers, side: Side) -> None:
    for axis, (length, name) in enumerate(zip(side, ("row", "column"), strict=True)):
        size = int(CUTOUT_SHARE * length + 0.5)
        first = values[name] - size // 2
        erase(rows, side, axis, first.clip(0, length - 1), (first + size - 1).clip(0, length - 1))


def _draw_flip(side: Side, generator: torch.Generator, count: int) -> Values:
    return {"mirrored": _unit(generator, count)}


def _finish_flip(drawn: Values) -> Values:
    return {"mirrored": drawn["mirrored"] < FLIP_PROBABILITY}


def _flip(images: Tensor, values: Values) -> Tensor:
    return torch.where(values["mirrored"].view(-1, 1, 1, 1), images.flip(3), images)


def _fill_flip(rows: Rows, values: Numbers, side: Side) -> None:
    rows[:, BY_X, 0] = np.where(values["mirrored"], -1.0, 1.0)


def _draw_scale(side: Side, generator: torch.Generator, count: int) -> Values:
    return {"vertical": _unit(generator, count), "horizontal": _unit(generator, count)}


def _finish_scale(drawn: Values) -> Values:
    return {name: _between(1.0 / LARGEST_SCALE, LARGEST_SCALE, unit) for name, unit in drawn.items()}


def _scale(images: Tensor, values: Values) -> Tensor:
    """Stretch about the center, independently per axis; values above 1 shrink the content."""
    y, x = _centered(images)
    vertical, horizontal = (values[name].to(images.dtype).view(-1, 1, 1) for name in ("vertical", "horizontal"))
    return _resample(images, y * vertical, x * horizontal)


def _fill_scale(rows: Rows, values: Numbers, side: Side) -> None:
    rows[:, BY_X, 0], rows[:, BY_Y, 1] = values["horizontal"], values["vertical"]


def _draw_rotate(side: Side, generator: torch.Generator, count: int) -> Values:
    return {"degrees": _unit(generator, count)}


def _finish_rotate(drawn: Values) -> Values:
    return {"degrees": _between(-LARGEST_ANGLE, LARGEST_ANGLE, drawn["degrees"])}


def _rotate(images: Tensor, values: Values) -> Tensor:
    """Turn about the center; a positive angle turns the content counter-clockwise."""
    y, x = _centered(images)
    angle = (values["degrees"].to(images.dtype) * (math.pi / 180.0)).view(-1, 1, 1)
    cos, sin = angle.cos(), angle.sin()
    return _resample(images, y * cos + x * sin, x * cos - y * sin)


def _fill_rotate(rows: Rows, values: Numbers, side: Side) -> None:
    angle, (height, width) = values["degrees"] * (math.pi / 180.0), side
    rows[:, BY_X, 0] = rows[:, BY_Y, 1] = np.cos(angle)
    rows[:, BY_X, 1], rows[:, BY_Y, 0] = np.sin(angle) * (width / height), -np.sin(angle) * (height / width)


def _draw_resized_crop(side: Side, generator: torch.Generator, count: int) -> Values:
    """Boxes in parts of the sides, the first of ten draws that fits into the image, or the whole image if none does.

    Area and logarithm of the ratio are uniform, then the place is. Sides are not rounded to whole pixels, as torchvision rounds them.
    """
    height, width = side
    area = _between(*CROPPED_AREA, _unit(generator, count * CROP_TRIES)) * height * width
    ratio = _between(math.log(CROPPED_RATIO[0]), math.log(CROPPED_RATIO[1]), _unit(generator, count * CROP_TRIES)).exp()
    tall, wide = ((area / ratio).sqrt() / height).view(count, -1), ((area * ratio).sqrt() / width).view(count, -1)
    fits = (tall <= 1) & (wide <= 1)
    first, any_fits = fits.int().argmax(1, keepdim=True), fits.any(1)
    values = {}
    for name, start, lengths in (("height", "top", tall), ("width", "left", wide)):
        values[name] = torch.where(any_fits, lengths.gather(1, first).squeeze(1), 1.0)
        values[start] = _between(0.0, 1.0, _unit(generator, count)) * (1.0 - values[name])
    return values


def _resized_crop(images: Tensor, values: Values) -> Tensor:
    """A part of the image, enlarged to its whole size; edge pixels go on beyond the border of the image by half a pixel."""
    y, x = _centered(images)
    positions = []
    for centered, start, length in ((y, "top", "height"), (x, "left", "width")):
        count = centered.numel()
        part, first = (values[name].to(images.dtype).view(-1, 1, 1) for name in (length, start))
        inside = (centered + count / 2) * part + first * count - 0.5
        positions.append(inside.clamp(0, count - 1) - (count - 1) / 2)
    return _resample(images, positions[0], positions[1])


def _fill_resized_crop(rows: Rows, values: Numbers, side: Side) -> None:
    for pair, (start, length) in enumerate((("left", "width"), ("top", "height"))):
        rows[:, (BY_X, BY_Y)[pair], pair] = values[length]
        rows[:, SHIFT, pair] = values[length] + 2 * values[start] - 1
    hold(rows, side, 0.0)


def _centered(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel positions relative to the center: rows `[H, 1]` and columns `[1, W]`."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, dtype=images.dtype, device=images.device) - (height - 1) / 2
    columns = torch.arange(width, dtype=images.dtype, device=images.device) - (width - 1) / 2
    return rows.view(-1, 1), columns.view(1, -1)


def _resample(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear values at centered positions (y, x), each broadcastable to `[n, H, W]`; zero outside the image."""
    count, _, height, width = images.shape
    grid = torch.stack(torch.broadcast_tensors(2 * x / width, 2 * y / height), dim=-1)
    return sample_bilinearly(images, grid.expand(count, -1, -1, -1))


def _pick(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels at integer positions, each broadcastable to `[n, H, W]` with n = 1 or B; zero outside the image."""
    count, channels, height, width = images.shape
    valid = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    picked = images.flatten(2).gather(2, index.flatten(1).unsqueeze(1).expand(count, channels, -1))
    return picked.view(images.shape).masked_fill(~valid.unsqueeze(1), 0.0)


COLOR = Family(_draw_color, _color, Part.COLOR, _fill_color, _finish_color)
CROP = Family(_draw_crop, _crop, Part.PLACE, _fill_crop)
CUTOUT = Family(_draw_cutout, _cutout, Part.ERASE, _fill_cutout)
FLIP = Family(_draw_flip, _flip, Part.MIRROR, _fill_flip, _finish_flip)
SCALE = Family(_draw_scale, _scale, Part.PLACE, _fill_scale, _finish_scale)
ROTATE = Family(_draw_rotate, _rotate, Part.PLACE, _fill_rotate, _finish_rotate)
RESIZED_CROP = Family(_draw_resized_crop, _resized_crop, Part.PLACE, _fill_resized_crop)
