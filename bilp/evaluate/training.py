"""Train one network on a set of images and test it: the evaluation protocols of the distillation papers.

Sources: Zhao et al. 2021 (DC) and the DSA, DM, CAFE, IDM and MTT papers after it, which share one protocol; Kim et al. 2022
(IDC); Yin et al. 2023 (SRe2L) for soft labels. This is also the reference for `bilp.evaluate.stacked_training`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from bilp.data import Split
from bilp.errors import ConfigError, Diverged
from bilp.evaluate.batch_augment import Streams, augment_batch, draw
from bilp.evaluate.course import Losses
from bilp.evaluate.objective import hard_loss, soft_loss
from bilp.evaluate.training_schedule import Schedule
from bilp.images.cutmix import Mix
from bilp.nets.dropout import dropping, has_dropout

# Images per forward pass of a test, as in the test loader of DC's program (get_dataset in its utils.py). In eval mode the accuracy does
# not depend on it, the memory does.
TEST_BATCH = 256
# Splits up to this many bytes as float32 are normalized once and kept; larger ones are read batch by batch.
KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class ImageSet:
    """Labeled images: `images` gives the normalized `[n, C, H, W]` at indices `[n]`, `labels` is `[N]` on the device."""

    images: Callable[[Tensor], Tensor]
    labels: Tensor
    side: tuple[int, int]

    @classmethod
    def of_tensors(cls, images: Tensor, labels: Tensor, device: str = "cpu") -> Self:
        """Images `[N, C, H, W]` or videos `[N, T, C, H, W]`, and labels `[N]`, that are held in memory."""
        held = images.to(device)
        return cls(lambda indices: held[indices.to(device)], labels.to(device), (images.shape[-2], images.shape[-1]))

    @classmethod
    def of_split(cls, split: Split, shape: tuple[int, int, int], device: str = "cpu", ids: Tensor | None = None) -> Self:
        """All images of a split, or those at the sample ids `[N]`; `shape` = (C, H, W)."""
        channels, height, width = shape
        labels = split.labels if ids is None else split.labels[ids]
        if 4 * len(labels) * channels * height * width <= KEPT_BYTES:
            return cls.of_tensors(split.batch(ids, device), labels, device)
        return cls(lambda indices: split.batch(indices if ids is None else ids[indices], device), labels.to(device), (height, width))

    def __len__(self) -> int:
        return len(self.labels)


def train(
    network: nn.Module,
    data: ImageSet,
    schedule: Schedule,
    streams: Streams,
    teacher: nn.Module | None = None,
    losses: Losses | None = None,
) -> Iterator[int]:
    """Train `network` in place, yielding the number of each finished epoch: 0 to `schedule.passes` - 1.

    `streams.order` shuffles each epoch, the others decide augmentation and cutmix of each mini-batch and what dropout drops.
    Batch norm is in train mode while training; whoever tests between two epochs may change the mode.

    Args:
        network: Changed in place.
        data: What it is trained on.
        schedule: Passes, mini-batches, step sizes, augmentation and labels.
        streams: Random numbers of this training.
        teacher: Network in eval mode, whose logits of the augmented images, or of the images as they are, are the soft labels; not
            needed for hard ones.
        losses: Is told the loss of every mini-batch, if given.
    """
    optimizer = None
    batch_norm = has_batch_norm(network)
    fixed = fixed_logits(data, teacher) if schedule.fixed_labels else None
    for epoch in range(schedule.passes):
        network.train()
        optimizer = schedule.optimizer_for(epoch, network.parameters(), optimizer)
        for batch in torch.randperm(len(data), generator=streams.order).split(schedule.batch_size):
            if batch_norm and len(batch) == 1 < len(data):
                continue  # batch norm has no statistics of one left-over sample
            treatment = draw(schedule, data.side, len(batch), streams)
            images = augment_batch(data.images(batch), treatment)
            with dropping(network, streams.dropout):
                logits = network(images)[None]
            told = fixed(batch)[None] if fixed is not None else None
            labels = data.labels[batch.to(data.labels.device)][None]
            loss = batch_loss(logits, labels, [treatment.mix], images, teacher, schedule, told)
            optimizer.zero_grad(set_to_none=True)
            loss.sum().backward()
            optimizer.step()
            if losses is not None:
                losses.add(loss, len(batch))
        if losses is not None:
            losses.end()
        yield epoch


def batch_loss(
    logits: Tensor,
    labels: Tensor,
    mixes: Sequence[Mix | None],
    images: Tensor,
    teacher: nn.Module | None,
    schedule: Schedule,
    fixed: Tensor | None = None,
) -> Tensor:
    """Loss `[K]` of K mini-batches.

    Args:
        logits: `[K, B, classes]`.
        labels: `[K, B]`, the sets' own.
        mixes: K times what CutMix did to the mini-batch, or None.
        images: `[K * B, C, H, W]`, as the networks saw them; the teacher looks at them.
        teacher: Gives the soft labels, in eval mode; None for hard ones.
        schedule: Whose temperature, if there is one, asks for soft labels.
        fixed: `[K, B, classes]`, what the teacher said of the images as they are, if labels are that.

    Raises ConfigError if soft labels are asked for and there is no teacher.
    """
    if schedule.temperature is None:
        return hard_loss(logits, labels, mixes)
    if fixed is not None:
        return soft_loss(logits, fixed, schedule.temperature, mixes, schedule.temperature_squared)
    with torch.no_grad():
        teacher_logits = _required(teacher)(images).view(logits.shape)
    return soft_loss(logits, teacher_logits, schedule.temperature, squared=schedule.temperature_squared)


def fixed_logits(data: ImageSet, teacher: nn.Module | None) -> Callable[[Tensor], Tensor]:
    """From indices `[n]` to what the teacher, in eval mode, says of these images as they are: `[n, classes]`.

    The teacher looks once at a set whose answers fit into memory, and at each mini-batch anew where they do not. Raises ConfigError
    without a teacher.
    """
    network = _required(teacher)

    def asked(indices: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = network(data.images(indices))
        return logits

    first = asked(torch.arange(min(1, len(data))))
    if 4 * len(data) * first.shape[-1] > KEPT_BYTES:
        return asked
    kept = torch.cat([asked(part) for part in torch.arange(len(data)).split(TEST_BATCH)])
    return lambda indices: kept[indices.to(kept.device)]


def _required(teacher: nn.Module | None) -> nn.Module:
    if teacher is None:
        raise ConfigError("soft labels need a teacher: train one, or set evaluate.labels to hard")
    return teacher


def has_batch_norm(network: nn.Module) -> bool:
    """Whether samples of a mini-batch influence each other, and running statistics are kept."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def trains_alone(network: nn.Module) -> bool:
    """Whether a training keeps or draws something of its own that a stack of networks cannot: batch norm, dropout."""
    return has_batch_norm(network) or has_dropout(network)


def accuracy(network: nn.Module, data: ImageSet) -> float:
    """Share of `data` that the network, put into eval mode, classifies correctly. Raises Diverged for logits that are not finite."""
    return int((predictions(network, data) == data.labels).sum()) / len(data)


def predictions(network: nn.Module, data: ImageSet) -> Tensor:
    """The class `[N]` that the network, put into eval mode, takes each image for. Raises Diverged for logits that are not finite."""
    network.eval()
    found = []
    finite = torch.ones((), dtype=torch.bool, device=data.labels.device)
    with torch.no_grad():
        for batch in torch.arange(len(data)).split(TEST_BATCH):
            logits = network(data.images(batch))
            found.append(logits.argmax(1))
            finite &= logits.isfinite().all()
    if not finite:
        raise Diverged("the network's outputs are not finite")
    return torch.cat(found)


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Number of images `[classes, classes]` by label (rows) and prediction, of labels and predictions `[N]`."""
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).view(classes, classes)
