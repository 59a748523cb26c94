"""Differentiable siamese augmentation (DSA; Zhao & Bilen 2021, section 3).

A call draws one family and its parameters once (`draw`) and applies them to as many batches as it likes (`apply`).
Siamese sharing, as in matching: `count=1`, so the real and the synthetic batch see the identical transformation
whatever their sizes. Independent images, as in training a network: `count=B`, one family for the batch and fresh
parameters per image.

Every map is linear in the pixels up to a constant, differentiable, and has no data-dependent shapes, so that it works
under `torch.func.vmap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bilp.capture import to_device
from bilp.config.augmentations import AUGMENTATIONS
from bilp.errors import ConfigError
from bilp.images.resampling import sample_bilinearly
from bilp.registry import resolve

Side = tuple[int, int]
Values = dict[str, Tensor]

# Strengths of the paper's program, the same for every data set: class ParamDiffAug of Zhao & Bilen's utils.py (line 495), which
# also has those of color (brightness 1, saturation 2, contrast 0.5) that `_draw_color` spells as ranges.
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
    """How the parameters of `count` images of a side are drawn, and how they change images `[B, C, H, W]`."""

    draw: Callable[[Side, torch.Generator, int], Values]
    apply: Callable[[Tensor, Values], Tensor]


@cache
def family_of(name: str) -> Family:
    """The family of a name in `bilp.config.augmentations`."""
    family: Family = resolve(AUGMENTATIONS[name].family)
    return family


@dataclass(frozen=True, eq=False)
class AugParams:
    """A family and its parameters, each `[1]` (shared by the batch, siamese) or `[B]` (one per image)."""

    family: str
    values: dict[str, Tensor]
    then: AugParams | None = None
    """What is applied after it (`draw_combined`)."""


def draw(families: Sequence[str], side: Side, generator: torch.Generator, count: int = 1) -> AugParams | None:
    """Draw one of `families` uniformly and `count` sets of its parameters for images of `side` = (height, width).

    None if there are no families. Raises ConfigError for a family that does not exist.
    """
    unknown = sorted({name for name in families if name not in AUGMENTATIONS})
    if unknown:
        raise ConfigError(f"unknown augmentation {', '.join(unknown)}: use {', '.join(AUGMENTATIONS)}")
    if not families:
        return None
    chosen = int(torch.randint(len(families), (1,), generator=generator, device=generator.device))
    family = families[chosen]
    return AugParams(family, family_of(family).draw(side, generator, count))


def draw_combined(families: Sequence[str], side: Side, generator: torch.Generator, count: int = 1) -> AugParams | None:
    """Draw as IDC does (Kim et al. 2022): flip, color and cutout all apply if they are listed, of the others one is drawn.

    They are applied in the order flip, color, the one drawn, cutout. Otherwise as `draw`.
    """
    places = {name: AUGMENTATIONS[name].combined if name in AUGMENTATIONS else None for name in families}
    always = sorted((place, name) for name, place in places.items() if place is not None)
    steps = [draw((name,), side, generator, count) for place, name in always if place < 0]
    steps.append(draw([name for name in families if places[name] is None], side, generator, count))
    steps += [draw((name,), side, generator, count) for place, name in always if place > 0]
    chain: AugParams | None = None
    for step in reversed([step for step in steps if step is not None]):
        chain = AugParams(step.family, step.values, chain)
    return chain


def send(params: Sequence[AugParams | None], side: Side, device: torch.device | str) -> list[AugParams | None]:
    """The same parameters, for images of `side`, on a device, all of them in one copy."""
    chains = [list(_steps(own)) for own in params]
    there = iter(to_device([value for steps in chains for step in steps for value in step.values.values()], device))
    sent: list[AugParams | None] = []
    for steps in chains:
        values = [{name: next(there) for name in step.values} for step in steps]
        chain: AugParams | None = None
        for step, own in zip(reversed(steps), reversed(values), strict=True):
            chain = AugParams(step.family, own, chain)
        sent.append(chain)
    return sent


def _steps(params: AugParams | None) -> Iterator[AugParams]:
    while params is not None:
        yield params
        params = params.then


def apply(images: Tensor, params: AugParams | None) -> Tensor:
    """The augmented images, `[B, C, H, W]` to the same shape; differentiable, and `images` itself for None.

    Raises ValueError if the parameters were drawn for another number of images than 1 or B.
    """
    while params is not None:
        for name, value in params.values.items():
            if value.shape[0] not in (1, images.shape[0]):
                raise ValueError(f"{params.family} {name} was drawn for {value.shape[0]} images, not for 1 or {images.shape[0]}")
        values = {name: value.to(images.device) for name, value in params.values.items()}
        images = family_of(params.family).apply(images, values)
        params = params.then
    return images


def _uniform(low: float, high: float, generator: torch.Generator, count: int) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device) * (high - low) + low


def _integer(low: int, high: int, generator: torch.Generator, count: int) -> Tensor:
    """Uniform on low..high, both included."""
    return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device)


def _per_image(value: Tensor, images: Tensor) -> Tensor:
    """`[n]` to `[n, 1, 1, 1]` in the images' precision."""
    return value.to(images.dtype).view(-1, 1, 1, 1)


def _draw_color(side: Side, generator: torch.Generator, count: int) -> Values:
    return {
        "brightness": _uniform(-0.5, 0.5, generator, count),
        "saturation": _uniform(0.0, 2.0, generator, count),
        "contrast": _uniform(0.5, 1.5, generator, count),
    }


def _color(images: Tensor, values: Values) -> Tensor:
    """Brightness is added; saturation scales around the mean of the channels, contrast around that of the image."""
    images = images + _per_image(values["brightness"], images)
    gray = images.mean(1, keepdim=True)
    images = (images - gray) * _per_image(values["saturation"], images) + gray
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * _per_image(values["contrast"], images) + mean


def _draw_crop(side: Side, generator: torch.Generator, count: int) -> Values:
    reach = [int(CROP_SHARE * length + 0.5) for length in side]
    return {name: _integer(-r, r, generator, count) for name, r in zip(("down", "right"), reach, strict=True)}


def _crop(images: Tensor, values: Values) -> Tensor:
    """A window shifted by whole pixels: pixel (i, j) shows what was at (i + down, j + right), zero outside."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device).view(-1, 1) + values["down"].view(-1, 1, 1)
    columns = torch.arange(width, device=images.device) + values["right"].view(-1, 1, 1)
    return _pick(images, rows, columns)


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


def _draw_flip(side: Side, generator: torch.Generator, count: int) -> Values:
    return {"mirrored": torch.rand(count, generator=generator, device=generator.device) < FLIP_PROBABILITY}


def _flip(images: Tensor, values: Values) -> Tensor:
    return torch.where(values["mirrored"].view(-1, 1, 1, 1), images.flip(3), images)


def _draw_scale(side: Side, generator: torch.Generator, count: int) -> Values:
    low, high = 1.0 / LARGEST_SCALE, LARGEST_SCALE
    return {"vertical": _uniform(low, high, generator, count), "horizontal": _uniform(low, high, generator, count)}


def _scale(images: Tensor, values: Values) -> Tensor:
    """Stretch about the center, independently per axis; values above 1 shrink the content."""
    y, x = _centered(images)
    vertical, horizontal = (values[name].to(images.dtype).view(-1, 1, 1) for name in ("vertical", "horizontal"))
    return _resample(images, y * vertical, x * horizontal)


def _draw_rotate(side: Side, generator: torch.Generator, count: int) -> Values:
    return {"degrees": _uniform(-LARGEST_ANGLE, LARGEST_ANGLE, generator, count)}


def _rotate(images: Tensor, values: Values) -> Tensor:
    """Turn about the center; a positive angle turns the content counter-clockwise."""
    y, x = _centered(images)
    angle = (values["degrees"].to(images.dtype) * (math.pi / 180.0)).view(-1, 1, 1)
    cos, sin = angle.cos(), angle.sin()
    return _resample(images, y * cos + x * sin, x * cos - y * sin)


def _draw_resized_crop(side: Side, generator: torch.Generator, count: int) -> Values:
    """Boxes in parts of the sides, the first of ten draws that fits into the image, or the whole image if none does.

    Area and logarithm of the ratio are uniform, then the place is. Sides are not rounded to whole pixels, as torchvision rounds them.
    """
    height, width = side
    area = _uniform(*CROPPED_AREA, generator, count * CROP_TRIES) * height * width
    ratio = _uniform(math.log(CROPPED_RATIO[0]), math.log(CROPPED_RATIO[1]), generator, count * CROP_TRIES).exp()
    tall, wide = ((area / ratio).sqrt() / height).view(count, -1), ((area * ratio).sqrt() / width).view(count, -1)
    fits = (tall <= 1) & (wide <= 1)
    first, any_fits = fits.int().argmax(1, keepdim=True), fits.any(1)
    values = {}
    for name, start, lengths in (("height", "top", tall), ("width", "left", wide)):
        values[name] = torch.where(any_fits, lengths.gather(1, first).squeeze(1), 1.0)
        values[start] = _uniform(0.0, 1.0, generator, count) * (1.0 - values[name])
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


def _centered(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel positions relative to the center: rows `[H, 1]` and columns `[1, W]`."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, dtype=images.dtype, device=images.device) - (height - 1) / 2
    columns = torch.arange(width, dtype=images.dtype, device=images.device) - (width - 1) / 2
    return rows.view(-1, 1), columns.view(1, -1)


def _resample(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear values at centered positions (y, x), each broadcastable to `[n, H, W]`; zero outside the image.

    `grid_sample` is several times faster, but its backward pass on a GPU sums in no fixed order and is refused under
    `torch.use_deterministic_algorithms`; that of the four gathered neighbors is not. Real images and trainings have no such pass.
    """
    native = images.device.type == "cpu" or not (torch.is_grad_enabled() and images.requires_grad)
    return _resample_native(images, y, x) if native else _resample_gathered(images, y, x)


def _resample_native(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    count, _, height, width = images.shape
    grid = torch.stack(torch.broadcast_tensors(2 * x / width, 2 * y / height), dim=-1)
    return sample_bilinearly(images, grid.expand(count, -1, -1, -1))


def _resample_gathered(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    y, x = y + (height - 1) / 2, x + (width - 1) / 2
    top, left = y.floor(), x.floor()
    down, right = y - top, x - left
    row, column = top.long(), left.long()
    result = torch.zeros_like(images)
    for step_y, weight_y in ((0, 1 - down), (1, down)):
        for step_x, weight_x in ((0, 1 - right), (1, right)):
            weight = (weight_y * weight_x).unsqueeze(1)
            result = result + weight * _pick(images, row + step_y, column + step_x)
    return result


def _pick(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels at integer positions, each broadcastable to `[n, H, W]` with n = 1 or B; zero outside the image."""
    count, channels, height, width = images.shape
    valid = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    picked = images.flatten(2).gather(2, index.flatten(1).unsqueeze(1).expand(count, channels, -1))
    return picked.view(images.shape).masked_fill(~valid.unsqueeze(1), 0.0)


COLOR = Family(_draw_color, _color)
CROP = Family(_draw_crop, _crop)
CUTOUT = Family(_draw_cutout, _cutout)
FLIP = Family(_draw_flip, _flip)
SCALE = Family(_draw_scale, _scale)
ROTATE = Family(_draw_rotate, _rotate)
RESIZED_CROP = Family(_draw_resized_crop, _resized_crop)
