"""What an outer loop of DC, DSA and DM takes from the host, as fixed tensors on the device: the draws of the reference loop, drawn ahead.

A row of inputs holds everything that differs from one outer loop to the next: the parameters of a new network, or the orders and
augmentation of a training, the real samples of every class and their augmentation, and where the losses go. Of real samples it is the
sample_ids, if the device keeps their pixels, and the pixels otherwise.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilp.capture import Field
from bilp.data.pool import RealPool
from bilp.distill.step.batch import Batch
from bilp.distill.step.real import draw_batches
from bilp.distill.step.setting import Setting
from bilp.images import augment
from bilp.nets.initialization import Initialization
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

PARAMETERS, ORDERS, PIXELS, SAMPLES, SLOT = "parameters", "orders", "pixels", "samples", "slot"
"""PIXELS travel unless the device keeps those of all candidates; then the numbers of the SAMPLES among these do."""
SIAMESE, OF_TRAINING = "siamese augmentation", "augmentation of the training"
"""Rows of numbers (`bilp.images.augment_rows`): of all classes `[1, K, 9, 2]`; of the images in the order of each epoch
`[epochs, M, 9, 2]`."""


@dataclass(frozen=True)
class Drawn:
    """What the host remembers of an outer loop that it has drawn."""

    real_used: int
    withheld: float


class SentPool(RealPool):
    """Real samples whose pixels lie on the device: the images of numbers that count them, whatever their sample_ids are."""

    def __init__(self, pool: RealPool, pixels: Tensor) -> None:
        """`pixels` `[n, C, H, W]` as the data set stores them, on the device; they may change later."""
        super().__init__(pool.dataset)
        self._pixels = pixels

    def images(self, ids: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Normalized float32 images of these numbers, which lie on the device as well."""
        return self.dataset.train.normalized(self._pixels.index_select(0, ids), device)


class StepInputs:
    """Which fixed tensors an outer loop reads, how a row of them is drawn, and how the step finds what it needs in them."""

    def __init__(self, setting: Setting, pruner: AdaptivePruner | None, images: int, iteration: int) -> None:
        """The sizes of the batches are those of `iteration`; `images` synthetic ones have orders in which the network is trained."""
        self._setting, self._pruner = setting, pruner
        self.initialization = Initialization(setting.network)
        self._sizes = [len(batch.ids) for batch in draw_batches(setting, pruner, iteration, 0)]
        train, count = setting.pool.dataset.train, sum(self._sizes)
        self._kept = train.kept_on(setting.device, torch.cat([setting.pool.by_class[c] for c in setting.classes]))
        pixels = train.images(setting.pool.by_class[0][:0])
        real = Field(torch.int64, (count,)) if self._kept else Field(pixels.dtype, (count, *pixels.shape[1:]))
        self.fields: Mapping[str, Field] = {
            PARAMETERS: Field(torch.float32, (self.initialization.count,)),
            ORDERS: Field(torch.int64, (setting.schedule.inner_epochs, images)),
            SAMPLES if self._kept else PIXELS: real,
            SLOT: Field(torch.int64, (1,)),
            SIAMESE: Field(torch.float32, (1, len(self._sizes) if setting.config.augment else 0, 9, 2)),
            OF_TRAINING: Field(torch.float32, (setting.schedule.inner_epochs, images if setting.schedule.augment else 0, 9, 2)),
        }

    def draw(self, place: tuple[int, int], slot: int, row: Mapping[str, Tensor]) -> Drawn | None:
        """Fill a row on the host with the draws of outer loop `place` = (iteration, outer loop), from the streams of the reference.

        None if batches are not as large as before: then a step of these shapes cannot take them.
        """
        setting, (number, outer) = self._setting, place
        batches = draw_batches(setting, self._pruner, number, outer)
        if [len(batch.ids) for batch in batches] != self._sizes:
            return None
        if outer == 0:
            self.initialization.draw(generator(setting.config.seed, "network", number), row[PARAMETERS])
        else:
            self._draw_training(row, number, outer - 1)
        self._fill_samples(torch.cat([batch.ids for batch in batches]), row)
        row[SLOT].fill_(slot)
        if len(row[SIAMESE][0]):
            row[SIAMESE].copy_(augment.host_rows([batch.params for batch in batches], setting.side))
        return Drawn(sum(self._sizes), statistics.fmean(batch.withheld for batch in batches))

    def _fill_samples(self, ids: Tensor, row: Mapping[str, Tensor]) -> None:
        """Say which real samples a row has, int64 `[n]`, by what the device lacks of them."""
        if self._kept is None:
            row[PIXELS].copy_(self._setting.pool.dataset.train.images(ids))
            return
        rows = self._kept.rows(ids)
        assert rows is not None  # they are candidates of these classes
        row[SAMPLES].copy_(rows)

    def _draw_training(self, row: Mapping[str, Tensor], *path: int) -> None:
        """What `bilp.distill.step.inner_training.InnerTraining` draws: an order for each epoch, augmentation for each mini-batch."""
        setting = self._setting
        schedule, seed = setting.schedule, setting.config.seed
        orders, parameters = generator(seed, "order", *path), generator(seed, "train_augment", *path)
        for order, rows in zip(row[ORDERS], row[OF_TRAINING], strict=True):
            order.copy_(torch.randperm(len(order), generator=orders))
            for part in rows.split(schedule.batch):
                if len(part):
                    drawn = augment.draw(schedule.augment, setting.side, parameters, count=len(part))
                    part.copy_(augment.host_rows([drawn], setting.side).squeeze(0))

    def found_in(self, values: Mapping[str, Tensor]) -> tuple[Setting, list[Batch]]:
        """The setting of a step that reads `values` on the device, and the batches of every class, whose ids lie there."""
        setting = self._setting
        if self._kept is None:
            pixels = values[PIXELS]
            numbers = torch.arange(len(pixels), device=pixels.device).split(self._sizes)
        else:
            pixels, numbers = self._kept.images, values[SAMPLES].split(self._sizes)
        drawn = [augment.of_rows(rows) for rows in values[SIAMESE].split(1, dim=1)] if setting.config.augment else [None] * len(numbers)
        batches = [Batch(c, own, params) for c, own, params in zip(setting.classes, numbers, drawn, strict=True)]
        return replace(setting, pool=SentPool(setting.pool, pixels)), batches
