"""The mini-batches of an epoch: whose images, and what happens to them before networks see them. A GPU gets those of many steps at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilp.images import augment
from bilp.images.augment_rows import Side
from bilp.images.cutmix import boxes_of
from bilp.training.batch_augment import Streams, Treatment, augment_batch, augment_each_batch, draw, joined
from bilp.training.objective import Mixed
from bilp.training.training_schedule import Schedule

AT_ONCE = {"cuda": 2**16}
"""By type of device: images, those of all networks counted, whose mini-batches are drawn and sent together, or a single mini-batch of
more. On others each is drawn when its turn comes."""


@dataclass(frozen=True)
class MiniBatch:
    """A mini-batch of B images for each of K networks."""

    indices: Tensor
    """`[K, B]`, on the CPU."""
    there: Tensor
    """The same on the device."""
    treatments: Sequence[Treatment]
    """K of them."""
    mixed: Mixed | None
    """What their CutMix does to the labels, on the device; None if none is mixed."""
    boxes: Tensor | None
    """What it replaces in the images, `[K, 4]`, there as well."""

    @property
    def count(self) -> int:
        """B."""
        return self.indices.shape[1]

    def treated(self, images: Tensor) -> Tensor:
        """The images `[K, B, ...]` at these indices as the networks see them."""
        if len(self.treatments) == 1:
            return augment_batch(images[0], self.treatments[0], None if self.mixed is None else self.mixed.partners[0])[None]
        mixes = None if self.mixed is None or self.boxes is None else (self.mixed.partners, self.boxes)
        return augment_each_batch(images, self.treatments, mixes)


def mini_batches(
    orders: Tensor, schedule: Schedule, side: Side, streams: Sequence[Streams], device: torch.device, least: int = 1
) -> Iterator[MiniBatch]:
    """An epoch of K networks, in whose streams everything is drawn in the order of the steps.

    Args:
        orders: indices `[K, N]` in the order in which each network meets its images, on the CPU.
        schedule: size of the mini-batches, augmentation and CutMix.
        side: height and width of the images.
        streams: K times the random streams of a training.
        device: where the images will lie.
        least: a mini-batch of fewer images is left out.
    """
    together: list[tuple[Tensor, list[Treatment]]] = []
    waiting, most = 0, AT_ONCE.get(device.type, 0)
    for indices in orders.split(schedule.batch_size, dim=1):
        if indices.shape[1] < least:
            continue
        if together and waiting + indices.numel() > most:
            yield from _sent(together, side, device)
            together, waiting = [], 0
        together.append((indices, [draw(schedule, side, indices.shape[1], each) for each in streams]))
        waiting += indices.numel()
    yield from _sent(together, side, device)


def _sent(drawn: Sequence[tuple[Tensor, list[Treatment]]], side: Side, device: torch.device) -> Iterator[MiniBatch]:
    """The mini-batches with what the device needs of them, in one copy."""
    values: list[Tensor] = []
    for indices, treatments in drawn:
        mixes = [each.mix for each in treatments]
        mixed = Mixed.of(mixes, indices.shape[1])
        values += [indices] if mixed is None else [indices, mixed.shares, mixed.partners, boxes_of(mixes)]
    chains = [joined(each.families) for _, treatments in drawn for each in treatments]
    moved, sent = augment.send_with(values, chains, side, device)
    there, chained = iter(moved), iter(sent)
    for indices, treatments in drawn:
        own, params = next(there), [next(chained) for _ in treatments]
        mixed, boxes = None, None
        if any(each.mix for each in treatments):
            mixed, boxes = Mixed(next(there), next(there)), next(there)
        if device.type != augment.REFERENCE:
            treatments = [replace(each, families=() if one is None else (one,)) for each, one in zip(treatments, params, strict=True)]
        yield MiniBatch(indices, own, treatments, mixed, boxes)
