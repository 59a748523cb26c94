"""Train one network on a set of images and test it: the evaluation protocols of the distillation papers.

Sources: Zhao et al. 2021 (DC) and the DSA, DM, CAFE, IDM and MTT papers after it, which share one protocol; Kim et al. 2022
(IDC); Yin et al. 2023 (SRe2L) for soft labels. This is also the reference for `bilp.evaluate.stacked_training`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from bilp.config.shapes import Shape, frames_in, side_of, values_in
from bilp.data import Split
from bilp.errors import Diverged
from bilp.nets.dropout import dropping, has_dropout
from bilp.training.answers import Answers, Gathering, Windows
from bilp.training.batch_augment import Streams, standardized
from bilp.training.course import Losses
from bilp.training.mini_batches import mini_batches
from bilp.training.training_schedule import Schedule
from bilp.training.training_step import TrainingStep, required

# Images per forward pass of a test, as in the test loader of DC's program (get_dataset in its utils.py). In eval mode the accuracy does
# not depend on it, the memory does.
TEST_BATCH = 256
# On a GPU there are more of them, as long as all together have no more values than these: 4096 images of 3 x 32 x 32.
TEST_VALUES = {"cuda": 3 * 2**22}
# Splits up to this many bytes as float32 are normalized once and kept. Of larger ones a GPU keeps the pixels, if it has the memory; all
# others are read batch by batch.
KEPT_BYTES = 256 * 2**20
KEPT_BYTES_ON = {"cuda": 2**30}


@dataclass(frozen=True)
class ImageSet:
    """Labeled images or clips: `images` gives the normalized `[n, C, H, W]` or `[n, T, C, H, W]` at indices `[n]`, `labels` `[N]`.

    Labels lie on the device, indices on the CPU; where the images are `held` on the device, they had better lie there.
    """

    images: Callable[[Tensor], Tensor]
    labels: Tensor
    side: tuple[int, int]
    held: bool = False
    frames: int = 1
    """Pictures in a sample."""
    at_once: int | None = None
    """Images per forward pass of a test, where results depend on it."""
    windows: Windows | None = None
    """Which samples share an answer in a test, if any do."""
    told: Tensor | None = None
    """What comes with the images, `[N, classes]` on the device: logits of soft labels, or values that were learned with them."""

    @classmethod
    def of_tensors(cls, images: Tensor, labels: Tensor, device: str = "cpu") -> Self:
        """Images `[N, C, H, W]` or clips `[N, T, C, H, W]`, and labels `[N]`, that are held in memory."""
        held, shape = images.to(device), images.shape[1:]
        return cls(lambda indices: held[indices.to(device)], labels.to(device), side_of(shape), held=True, frames=frames_in(shape))

    @classmethod
    def of_split(cls, split: Split, shape: Shape, device: str = "cpu", ids: Tensor | None = None) -> Self:
        """All images of a split, or those at the sample ids `[N]`; `shape` is that of a sample."""
        return replace(cls._of_split(split, shape, device, ids), windows=_windows(split, device, ids))

    @classmethod
    def _of_split(cls, split: Split, shape: Shape, device: str, ids: Tensor | None) -> Self:
        labels = split.labels if ids is None else split.labels[ids]
        if 4 * len(labels) * values_in(shape) <= kept_bytes(device):
            return cls.of_tensors(split.batch(ids, device), labels, device)
        if split.keep_on(device):
            there = torch.arange(len(labels), device=device) if ids is None else ids.to(device)
            return cls(
                lambda indices: split.batch(there[indices], device), labels.to(device), side_of(shape), held=True, frames=frames_in(shape)
            )

        def batch(indices: Tensor) -> Tensor:
            return split.batch(indices if ids is None else ids[indices], device)

        return cls(batch, labels.to(device), side_of(shape), frames=frames_in(shape))

    def __len__(self) -> int:
        return len(self.labels)

    def indices(self, host: Tensor, there: Tensor) -> Tensor:
        """The one of two equal tensors of indices, on the CPU and on the device, that `images` should be given."""
        return there if self.held else host

    @property
    def answered(self) -> Tensor:
        """Labels `[V]` of what a test has answers to: of the samples, or of the videos that several of them are clips of."""
        return self.labels if self.windows is None else self.windows.labels

    def passes(self, size: int) -> Iterator[Tensor]:
        """All indices, so many at a time."""
        return iter(torch.arange(len(self), device=self.labels.device if self.held else None).split(size))


def _windows(split: Split, device: str, ids: Tensor | None) -> Windows | None:
    if split.videos is None:
        return None
    videos, labels = (split.videos, split.labels) if ids is None else (split.videos[ids], split.labels[ids])
    return Windows.of(videos, labels, device)


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

    def forward(images: Tensor) -> Tensor:
        with dropping(network, streams.dropout):
            logits: Tensor = network(images.squeeze(0))[None]
        return logits

    step = TrainingStep(forward, [each for each in network.parameters() if each.requires_grad], schedule, teacher)
    if has_dropout(network):
        step.draws()
    # Batch norm has no statistics of one left-over sample.
    least = 2 if _takes_statistics(network) and len(data) > 1 else 1
    fixed = told_beforehand(data, schedule, teacher)
    for epoch in range(schedule.passes):
        network.train()
        step.begin(epoch)
        order = torch.randperm(len(data), generator=streams.order)[None]
        for batch in mini_batches(order, schedule, data.side, [streams], data.labels.device, least):
            wanted = data.indices(batch.indices[0], batch.there[0])
            images = batch.treated(data.images(wanted)[None])
            told = fixed(wanted)[None] if fixed is not None else None
            loss = step(standardized(images) if schedule.standardize else images, data.labels[batch.there], batch.mixed, told)
            if losses is not None:
                losses.add(loss, batch.count)
        if losses is not None:
            losses.end()
        yield epoch


def told_beforehand(data: ImageSet, schedule: Schedule, teacher: nn.Module | None) -> Callable[[Tensor], Tensor] | None:
    """From indices `[n]` to labels `[n, classes]` that no augmentation changes: values learned with the images, or what a teacher says of
    these as they are; None where labels are something else. Raises ConfigError without a teacher that is needed."""
    told = data.told
    if schedule.regressed:
        return None if told is None else lambda indices: told[indices.to(told.device)]
    return fixed_logits(data, teacher) if schedule.fixed_labels else None


def fixed_logits(data: ImageSet, teacher: nn.Module | None) -> Callable[[Tensor], Tensor]:
    """From indices `[n]` to the logits `[n, classes]` of the labels of these images as they are: those that come with them, or what
    the teacher, in eval mode, says.

    The teacher looks once at a set whose answers fit into memory, and at each mini-batch anew where they do not. Raises ConfigError
    without a teacher, where one has to be asked.
    """
    stored = data.told
    if stored is not None:
        return lambda indices: stored[indices.to(stored.device)]
    network = required(teacher)

    def asked(indices: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = network(data.images(indices))
        return logits

    first = asked(torch.arange(min(1, len(data))))
    if 4 * len(data) * first.shape[-1] > kept_bytes(data.labels.device):
        return asked
    kept = torch.cat([asked(part) for part in data.passes(images_at_once(data))])
    return lambda indices: kept[indices.to(kept.device)]


def kept_bytes(device: torch.device | str) -> int:
    """Bytes up to which what is asked for again and again is kept on a device."""
    return KEPT_BYTES_ON.get(torch.device(device).type, KEPT_BYTES)


def images_at_once(data: ImageSet) -> int:
    """Samples per forward pass of a test of one network; every frame of a clip counts as an image."""
    if data.at_once is not None:
        return data.at_once
    most, least = TEST_VALUES.get(data.labels.device.type, 0), max(1, TEST_BATCH // data.frames)
    return max(least, most // data.images(torch.arange(1)).numel()) if most and len(data) else least


def has_batch_norm(network: nn.Module) -> bool:
    """Whether samples of a mini-batch influence each other, and running statistics are kept."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def _takes_statistics(network: nn.Module) -> bool:
    """Whether batch norm takes statistics of mini-batches while the network is trained: in train mode, that of a frozen part does not."""
    network.train()
    return any(isinstance(module, nn.BatchNorm2d) and module.training for module in network.modules())


def trains_alone(network: nn.Module) -> bool:
    """Whether a training keeps or draws something of its own that a stack of networks cannot: batch norm, dropout."""
    return has_batch_norm(network) or has_dropout(network)


def accuracy(network: nn.Module, data: ImageSet) -> float:
    """Share of `data`, or of its videos, that the network, put into eval mode, classifies correctly. Raises as `predictions`."""
    return int((predictions(network, data) == data.answered).sum()) / len(data.answered)


def predictions(network: nn.Module, data: ImageSet) -> Tensor:
    """The class `[N]` that the network, put into eval mode, takes each image for. Raises Diverged for logits that are not finite."""
    return answers(network, data).predicted


def answers(network: nn.Module, data: ImageSet, top_k: int | None = None) -> Answers:
    """What the network, put into eval mode, says of the images, with the `top_k` likeliest classes if given. Raises as `predictions`."""
    network.eval()
    found = Gathering(data.labels, data.windows, top_k)
    finite = torch.ones((), dtype=torch.bool, device=data.labels.device)
    with torch.no_grad():
        for batch in data.passes(images_at_once(data)):
            logits = network(data.images(batch))
            found.add(logits, batch)
            finite &= logits.isfinite().all()
    if not finite:
        raise Diverged("the network's outputs are not finite")
    return found.answers()


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Number of images `[classes, classes]` by label (rows) and prediction, of labels and predictions `[N]`."""
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).view(classes, classes)
