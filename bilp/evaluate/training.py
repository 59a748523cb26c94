"""Train one network on a set of images and test it: the evaluation protocol of the distillation papers.

Source: Zhao et al. 2021 (DC) and the DSA, DM, CAFE, IDM and MTT papers after it, which share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bilp import augment
from bilp.config import EvaluateConfig
from bilp.data import Split
from bilp.errors import Diverged

DECAY = 0.1
TEST_BATCH = 256
# Splits up to this many bytes as float32 are normalised once and kept; larger ones are read batch by batch.
KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: `images` gives the normalised `[n, C, H, W]` at indices `[n]`, `labels` is `[N]` on the device."""

    images: Callable[[Tensor], Tensor]
    labels: Tensor
    side: tuple[int, int]

    @classmethod
    def of_tensors(cls, images: Tensor, labels: Tensor, device: str = "cpu") -> Self:
        """Images `[N, C, H, W]` and labels `[N]` that are held in memory."""
        held = images.to(device)
        return cls(lambda indices: held[indices.to(device)], labels.to(device), (images.shape[2], images.shape[3]))

    @classmethod
    def of_split(cls, split: Split, shape: tuple[int, int, int], device: str = "cpu") -> Self:
        """All images of a split, `shape` = (C, H, W)."""
        channels, height, width = shape
        if 4 * len(split) * channels * height * width <= KEPT_BYTES:
            return cls.of_tensors(split.batch(None, device), split.labels, device)
        return cls(lambda indices: split.batch(indices, device), split.labels.to(device), (height, width))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Schedule:
    """How a network is trained: SGD, in shuffled mini-batches, with augmentation drawn per image."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    augment: tuple[str, ...]

    @classmethod
    def of_config(cls, config: EvaluateConfig, epochs: int) -> Self:
        """The settings of `config`, for `epochs` epochs."""
        return cls(epochs, config.batch_size, config.learning_rate, config.momentum, config.weight_decay, tuple(config.augment))


def train(network: nn.Module, data: ImageSet, schedule: Schedule, order: torch.Generator, augmentation: torch.Generator) -> Iterator[int]:
    """Train `network` in place, yielding the number of each finished epoch: 0 to `schedule.epochs`, both included.

    That is one pass more than `epochs`, as in the papers. Once epoch `epochs // 2 + 1` is finished, a new optimiser with
    a tenth of the step size takes over, so momentum starts again. `order` shuffles each epoch, `augmentation` draws one
    family per mini-batch with parameters per image. Batch norm is in train mode while training; whoever tests between
    two epochs may change the mode.
    """
    optimiser = _sgd(network, schedule, schedule.learning_rate)
    alone_spoils = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    for epoch in range(schedule.epochs + 1):
        network.train()
        for batch in torch.randperm(len(data), generator=order).split(schedule.batch_size):
            if alone_spoils and len(batch) == 1 < len(data):
                continue  # batch norm has no statistics of one left-over sample
            params = augment.draw(schedule.augment, data.side, augmentation, len(batch))
            images = augment.apply(data.images(batch), params)
            loss = cross_entropy(network(images), data.labels[batch.to(data.labels.device)])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        if epoch == schedule.epochs // 2 + 1:
            optimiser = _sgd(network, schedule, schedule.learning_rate * DECAY)
        yield epoch


def accuracy(network: nn.Module, data: ImageSet) -> float:
    """Share of `data` that the network, put into eval mode, classifies correctly. Raises Diverged for logits that are not finite."""
    network.eval()
    correct = torch.zeros((), dtype=torch.int64, device=data.labels.device)
    finite = torch.ones((), dtype=torch.bool, device=data.labels.device)
    with torch.no_grad():
        for batch in torch.arange(len(data)).split(TEST_BATCH):
            logits = network(data.images(batch))
            correct += (logits.argmax(1) == data.labels[batch.to(data.labels.device)]).sum()
            finite &= logits.isfinite().all()
    if not finite:
        raise Diverged("the network's outputs are not finite")
    return int(correct) / len(data)


def _sgd(network: nn.Module, schedule: Schedule, learning_rate: float) -> torch.optim.SGD:
    return torch.optim.SGD(
        network.parameters(), lr=learning_rate, momentum=schedule.momentum, weight_decay=schedule.weight_decay, fused=True
    )
