"""What happens to a mini-batch before a network sees it: augmentation and cutmix, drawn from streams of their own.

Draws depend on the streams alone, so a network meets the same treatment whether it is trained alone or with others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from bilp import augment
from bilp.augment import AugParams, Side
from bilp.evaluate.schedule import Schedule
from bilp.seeds import generator


@dataclass(frozen=True)
class Streams:
    """Random streams of one training: order of the samples, augmentation, cutmix."""

    order: torch.Generator
    augment: torch.Generator
    cutmix: torch.Generator

    @classmethod
    def of(cls, seed: int, name: str, number: int) -> Self:
        """Those of training `number` of the network called `name`, whatever it is trained on."""
        return cls(*(generator(seed, "evaluate", what, name, number) for what in ("order", "augment", "cutmix")))


@dataclass(frozen=True)
class Mix:
    """Cutmix (Yun et al. 2019): inside `box` (top, bottom, left, right) image i shows its `partner[i]`, int64 `[B]`.

    `share` is the part of an image, and of its label, that stays its own.
    """

    partner: Tensor
    box: tuple[int, int, int, int]
    share: float


@dataclass(frozen=True)
class Treatment:
    """Families in the order in which they are applied, then cutmix or none."""

    families: tuple[AugParams, ...]
    mix: Mix | None


def draw(schedule: Schedule, side: Side, count: int, streams: Streams) -> Treatment:
    """The treatment of a mini-batch of `count` images of `side` = (height, width)."""
    drawn = [augment.draw([family], side, streams.augment, count) for family in schedule.augment_always]
    drawn.append(augment.draw(schedule.augment, side, streams.augment, count))
    return Treatment(tuple(params for params in drawn if params is not None), _draw_mix(schedule.cutmix, side, count, streams.cutmix))


def _draw_mix(probability: float, side: Side, count: int, stream: torch.Generator) -> Mix | None:
    """Box and partners; the share of the box is uniform on [0, 1) before it is cut off at the border."""
    if probability == 0.0 or float(torch.rand((), generator=stream)) >= probability:
        return None
    kept, down, right = torch.rand(3, generator=stream).tolist()
    partner = torch.randperm(count, generator=stream)
    height, width = side
    edges = []
    for length, place in ((height, down), (width, right)):
        reach = int(length * math.sqrt(1.0 - kept)) // 2
        centre = int(place * length)
        edges += [max(0, centre - reach), min(length, centre + reach)]
    top, bottom, left, right_edge = edges
    area = (bottom - top) * (right_edge - left)
    return Mix(partner, (top, bottom, left, right_edge), 1.0 - area / (height * width))


def treat(images: Tensor, treatment: Treatment) -> Tensor:
    """The treated mini-batch, `[B, C, H, W]` to the same shape."""
    for params in treatment.families:
        images = augment.apply(images, params)
    return images if treatment.mix is None else _mixed(images, treatment.mix)


def treat_each(images: Tensor, treatments: Sequence[Treatment]) -> Tensor:
    """`treat` for K mini-batches `[K, B, C, H, W]` at once: those that drew the same family share one computation."""
    batches = list(images.unbind())
    for step in range(max(len(treatment.families) for treatment in treatments)):
        by_family: dict[str, list[int]] = {}
        for k, treatment in enumerate(treatments):
            by_family.setdefault(treatment.families[step].family, []).append(k)
        for family, members in by_family.items():
            drawn = [treatments[k].families[step].values for k in members]
            joined = AugParams(family, {name: torch.cat([values[name] for values in drawn]) for name in drawn[0]})
            treated = augment.apply(torch.cat([batches[k] for k in members]), joined)
            for k, batch in zip(members, treated.split(images.shape[1]), strict=True):
                batches[k] = batch
    mixed = [batch if treatment.mix is None else _mixed(batch, treatment.mix) for batch, treatment in zip(batches, treatments, strict=True)]
    return torch.stack(mixed)


def _mixed(images: Tensor, mix: Mix) -> Tensor:
    top, bottom, left, right = mix.box
    result = images.clone()
    result[:, :, top:bottom, left:right] = images[mix.partner.to(images.device), :, top:bottom, left:right]
    return result
