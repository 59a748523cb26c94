"""Differentiable siamese augmentation (DSA; Zhao & Bilen 2021, section 3).

A call draws one family and its parameters once (`draw`) and applies them to as many batches as it likes (`apply`).
Siamese sharing, as in matching: `count=1`, so the real and the synthetic batch see the identical transformation
whatever their sizes. Independent images, as in training a network: `count=B`, one family for the batch and fresh
parameters per image.

Every map is linear in the pixels up to a constant, differentiable, and has no data-dependent shapes, so that it works
under `torch.func.vmap`.

A clip `[T, C, H, W]` is augmented as one image: one draw for all of its frames, each of which is changed as a picture would be (contrast
around its own mean). So a clip of equal frames becomes a clip of equal frames.

On the CPU, each family computes its own map: the reference. On other devices what was drawn becomes rows of numbers, which one sequence of
operations applies to the images of all classes (`bilp.images.apply_rows`); the results differ by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from bilp.capture import to_device
from bilp.config.augmentations import AUGMENTATIONS
from bilp.errors import ConfigError
from bilp.images import augment_rows
from bilp.images.apply_rows import apply_rows
from bilp.images.augment_rows import Part, Rows, Side
from bilp.images.families import Family, Values
from bilp.images.frames import are_clips, as_frames, as_samples
from bilp.nets.clips import frames_of
from bilp.registry import resolve

REFERENCE = "cpu"
"""The type of device on which each family computes its own map."""


@cache
def family_of(name: str) -> Family:
    """The family of a name in `bilp.config.augmentations`."""
    family: Family = resolve(AUGMENTATIONS[name].family)
    return family


@dataclass(frozen=True, eq=False)
class AugParams:
    """A family and its parameters, each `[1]` (shared by the batch, siamese) or `[B]` (one per image)."""

    family: str
    """Empty where the rows alone say what is drawn."""
    values: Values
    then: AugParams | None = None
    """What is applied after it (`draw_combined`)."""
    rows: Tensor | None = None
    """All of it as rows `[steps, n, 9, 2]` on the device that the images lie on, from `send`; they are made when needed if None."""

    @property
    def count(self) -> int:
        """The number of images they were drawn for: B, or 1 for any number."""
        if self.rows is not None:
            return self.rows.shape[1]
        return max(len(value) for step in self.steps() for value in step.values.values())

    def steps(self) -> Iterator[AugParams]:
        """The families in the order in which they are applied."""
        step: AugParams | None = self
        while step is not None:
            yield step
            step = step.then


def draw(families: Sequence[str], side: Side, generator: torch.Generator, count: int = 1) -> AugParams | None:
    """Draw one of `families` uniformly and `count` sets of its parameters for images of `side` = (height, width).

    None if there are no families. Raises ConfigError for a family that does not exist.
    """
    require_known(families)
    if not families:
        return None
    family = chosen_family(families, generator)
    return AugParams(family, family_of(family).draw(side, generator, count))


def require_known(families: Sequence[str]) -> None:
    """Raise ConfigError for a family that does not exist."""
    unknown = sorted({name for name in families if name not in AUGMENTATIONS})
    if unknown:
        raise ConfigError(f"unknown augmentation {', '.join(unknown)}: use {', '.join(AUGMENTATIONS)}")


def chosen_family(families: Sequence[str], generator: torch.Generator) -> str:
    """One of `families`, uniformly."""
    return families[int(torch.randint(len(families), (1,), generator=generator, device=generator.device))]


def draw_combined(families: Sequence[str], side: Side, generator: torch.Generator, count: int = 1) -> AugParams | None:
    """Draw as IDC does (Kim et al. 2022): flip, color and cutout all apply if they are listed, of the others one is drawn.

    They are applied in the order flip, color, the one drawn, cutout. Otherwise as `draw`.
    """
    steps = [draw(choices, side, generator, count) for choices in combined_choices(families)]
    return chained(step for step in steps if step is not None)


def combined_choices(families: Sequence[str]) -> list[Sequence[str]]:
    """From which families the steps of `draw_combined` are drawn, in their order."""
    places = {name: AUGMENTATIONS[name].combined if name in AUGMENTATIONS else None for name in families}
    always = sorted((place, name) for name, place in places.items() if place is not None)
    others = [name for name in families if places[name] is None]
    return [*((name,) for place, name in always if place < 0), others, *((name,) for place, name in always if place > 0)]


def chained(steps: Iterable[AugParams]) -> AugParams | None:
    """Families to be applied one after the other as one; what follows any of them already is kept. None if there are none."""
    chain: AugParams | None = None
    for step in reversed([part for whole in steps for part in whole.steps()]):
        chain = AugParams(step.family, step.values, chain)
    return chain


def apply(images: Tensor, params: AugParams | None) -> Tensor:
    """The augmented images, `[B, C, H, W]` or clips `[B, T, C, H, W]` to the same shape; differentiable, and `images` itself for None.

    Raises ValueError if the parameters were drawn for another number of images, or of clips, than 1 or B.
    """
    if params is None:
        return images
    if are_clips(images):
        return as_samples(apply(as_frames(images), _for_frames(params, images)), images)
    if images.device.type != REFERENCE:
        return _apply_rows(images, [params], [len(images)])
    for step in params.steps():
        _check_count(step, len(images))
        images = family_of(step.family).apply(images, step.values)
    return images


def apply_each(images: Tensor, params: Sequence[AugParams | None], sizes: Sequence[int]) -> Tensor:
    """`apply` for groups of consecutive images or clips, `sizes` of them, each with parameters of its own; to the same shape."""
    if not any(params):
        return images
    if are_clips(images):
        repeated = [_for_frames(own, part) for own, part in zip(params, images.split(list(sizes)), strict=True)]
        return as_samples(apply_each(as_frames(images), repeated, [size * frames_of(images) for size in sizes]), images)
    if images.device.type != REFERENCE:
        return _apply_rows(images, params, sizes)
    return torch.cat([apply(part, own) for part, own in zip(images.split(list(sizes)), params, strict=True)])


def send(params: Sequence[AugParams | None], side: Side, device: torch.device | str) -> list[AugParams | None]:
    """The same parameters with their rows on the device, all of them in one copy; as they are where no rows are needed."""
    return send_with([], params, side, device)[1]


def send_with(
    values: Sequence[Tensor], params: Sequence[AugParams | None], side: Side, device: torch.device | str
) -> tuple[list[Tensor], list[AugParams | None]]:
    """What else was drawn, on the device, and parameters as `send` gives them: both in the same copy."""
    if torch.device(device).type == REFERENCE or not any(params):
        return to_device(values, device), list(params)
    *there, rows = to_device([*values, host_rows(params, side)], device)
    own_rows = rows.split([1 if own is None else own.count for own in params], dim=1)
    return there, [None if own is None else replace(own, rows=part) for own, part in zip(params, own_rows, strict=True)]


def host_rows(params: Sequence[AugParams | None], side: Side, sizes: Sequence[int] | None = None) -> Tensor:
    """What `apply_rows` needs of the parameters of K batches, float32 `[steps, n, 9, 2]` on the CPU; None leaves images as they are.

    The rows of a batch are as many as its parameters were drawn for, or, with `sizes`, one for each of its images. One step says whatever
    `draw` or `draw_combined` gives.
    """
    found = [_rows(own, side) for own in params]
    longest = max(len(steps) for steps in found)
    padded = [steps + [augment_rows.identity(len(steps[0]), side)] * (longest - len(steps)) for steps in found]
    if sizes is not None:
        padded = [[rows.repeat(size // len(rows), axis=0) for rows in steps] for steps, size in zip(padded, sizes, strict=True)]
    return torch.from_numpy(np.stack([np.concatenate(step) for step in zip(*padded, strict=True)])).float()


def of_rows(rows: Tensor) -> AugParams:
    """The parameters of a batch that rows `[steps, n, 9, 2]` on the images' device say, whatever is written into them later."""
    return AugParams("", {}, rows=rows)


def _rows(params: AugParams | None, side: Side) -> list[Rows]:
    """Rows of one batch: as few as can say its families in their order."""
    if params is None:
        return [augment_rows.identity(1, side)]
    found: list[Rows] = []
    said: set[Part] = set()
    for step in params.steps():
        family = family_of(step.family)
        rows = augment_rows.identity(params.count, side)
        family.fill(rows, {name: np.array(value.tolist()) for name, value in step.values.items()}, side)
        if found and augment_rows.follows(family.part, said):
            found[-1] = augment_rows.one_after_the_other(found[-1], family.part, rows)
            said = said | {family.part}
        else:
            found.append(rows)
            said = {family.part}
    return found


def _apply_rows(images: Tensor, params: Sequence[AugParams | None], sizes: Sequence[int]) -> Tensor:
    """`apply_each` by rows: those that were sent, with the same operations whatever was drawn, or new ones, with those that they need."""
    for own, size in zip(params, sizes, strict=True):
        for step in () if own is None else own.steps():
            _check_count(step, size)
    shared = all(own is None or own.count == 1 for own in params)
    sent = _sent(params, images.device, [1] * len(params) if shared else sizes)
    if sent is not None:
        return apply_rows(images, sent, sizes if shared else None)
    (rows,) = to_device([host_rows(params, (images.shape[-2], images.shape[-1]), None if shared else sizes)], images.device)
    parts = {family_of(step.family).part for own in params if own is not None for step in own.steps()}
    return apply_rows(images, rows, sizes if shared else None, colors=Part.COLOR in parts, moves=parts != {Part.COLOR})


def _sent(params: Sequence[AugParams | None], device: torch.device, counts: Sequence[int]) -> Tensor | None:
    """The rows `[steps, n, 9, 2]` that lie on the device, `counts` of each batch; None if there are others than these or none."""
    rows = [own.rows for own in params if own is not None and own.rows is not None and own.rows.device == device]
    if [part.shape[1] for part in rows] != list(counts) or len({len(part) for part in rows}) > 1:
        return None
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)


def _for_frames(params: AugParams | None, clips: Tensor) -> AugParams | None:
    """What was drawn for each of the clips `[B, T, C, H, W]`, for all of their frames; what all share stays as it is."""
    if params is None:
        return None
    for step in params.steps():
        _check_count(step, len(clips))
    if params.count == 1:
        return params
    frames = frames_of(clips)
    values = {name: value if len(value) == 1 else value.repeat_interleave(frames) for name, value in params.values.items()}
    rows = None if params.rows is None else params.rows.repeat_interleave(frames, dim=1)
    return AugParams(params.family, values, _for_frames(params.then, clips), rows)


def _check_count(step: AugParams, images: int) -> None:
    for name, value in step.values.items():
        if value.shape[0] not in (1, images):
            raise ValueError(f"{step.family} {name} was drawn for {value.shape[0]} images, not for 1 or {images}")
