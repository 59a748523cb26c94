"""What happens to a mini-batch before a network sees it: augmentation and cutmix, drawn from streams of their own.

Draws depend on the streams alone, so a network meets the same treatment whether it is trained alone or with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.augment_rows import Side
from bilp.images.cutmix import Mix, draw_mix, mix_each, mix_images
from bilp.images.dc_augment import Operations, draw_operations, operate
from bilp.seeds import generator
from bilp.training.training_schedule import Schedule

STREAMS = ("order", "augment", "cutmix", "dropout")
"""Names of a training's streams, in the order of the fields of `Streams`."""


@dataclass(frozen=True)
class Streams:
    """Random streams of one training: order of the samples, augmentation, cutmix, dropout."""

    order: torch.Generator
    augment: torch.Generator
    cutmix: torch.Generator
    dropout: torch.Generator

    @classmethod
    def of(cls, seed: int, name: str, number: int) -> Self:
        """Those of training `number` of the network called `name`, whatever it is trained on."""
        return cls(*(generator(seed, "evaluate", what, name, number) for what in STREAMS))


@dataclass(frozen=True)
class Treatment:
    """An operation of each image's own or none, families in the order in which they are applied, then cutmix or none."""

    families: tuple[AugParams, ...]
    mix: Mix | None
    each: Operations | None = None


def draw(schedule: Schedule, side: Side, count: int, streams: Streams) -> Treatment:
    """The treatment of a mini-batch of `count` images of `side` = (height, width)."""
    each = draw_operations(schedule.augment_each, count, streams.augment)
    drawn = [augment.draw([family], side, streams.augment, count) for family in schedule.augment_always]
    drawn.append(augment.draw(schedule.augment, side, streams.augment, count))
    drawn += [augment.draw([family], side, streams.augment, count) for family in schedule.augment_after]
    families = tuple(params for params in drawn if params is not None)
    return Treatment(families, draw_mix(schedule.cutmix, side, count, streams.cutmix), each)


def augment_batch(images: Tensor, treatment: Treatment, partner: Tensor | None = None) -> Tensor:
    """The augmented mini-batch, `[B, C, H, W]` to the same shape; `partner` is that of its CutMix, if it lies on the device."""
    images = augment.apply(operate(images, treatment.each), joined(treatment.families))
    return mix_images(images, treatment.mix, partner)


def joined(families: tuple[AugParams, ...]) -> AugParams | None:
    """Families in their order as one; one alone, which may have its rows on a device, as it is."""
    return families[0] if len(families) == 1 else augment.chained(families)


def standardized(images: Tensor) -> Tensor:
    """Mini-batches `[K, B, ...]`, each less the mean of its values and over their deviation."""
    dims = tuple(range(1, images.ndim))
    return (images - images.mean(dims, keepdim=True)) / images.std(dims, keepdim=True)


def augment_each_batch(images: Tensor, treatments: Sequence[Treatment], mixes: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """`augment_batch` for K mini-batches `[K, B, C, H, W]` at once.

    On the CPU, those that drew the same family share one computation, elsewhere all do: `mixes` are there, if any is mixed, the partners
    `[K, B]` and boxes `[K, 4]` of their CutMix.
    """
    operated = [operate(batch, treatment.each) for batch, treatment in zip(images.unbind(), treatments, strict=True)]
    if images.device.type == augment.REFERENCE:
        batches = _by_family(operated, treatments)
        return torch.stack([mix_images(batch, treatment.mix) for batch, treatment in zip(batches, treatments, strict=True)])
    whole = images if all(treatment.each is None for treatment in treatments) else torch.stack(operated)
    chains = [joined(treatment.families) for treatment in treatments]
    whole = augment.apply_each(whole.flatten(0, 1), chains, [whole.shape[1]] * len(chains)).view_as(whole)
    return whole if mixes is None else mix_each(whole, *mixes)


def _by_family(batches: list[Tensor], treatments: Sequence[Treatment]) -> list[Tensor]:
    """The batches under their families, step by step."""
    size = len(batches[0])
    for step in range(max(len(treatment.families) for treatment in treatments)):
        by_family: dict[str, list[int]] = {}
        for k, treatment in enumerate(treatments):
            by_family.setdefault(treatment.families[step].family, []).append(k)
        for family, members in by_family.items():
            drawn = [treatments[k].families[step].values for k in members]
            joined = AugParams(family, {name: torch.cat([values[name] for values in drawn]) for name in drawn[0]})
            augmented = augment.apply(torch.cat([batches[k] for k in members]), joined)
            for k, batch in zip(members, augmented.split(size), strict=True):
                batches[k] = batch
    return batches
