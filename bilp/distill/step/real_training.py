"""Training of the matched network on real images, as IDC, DREAM and IDM do between image steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bilp.config.augmentations import AUGMENTATIONS
from bilp.config.shapes import side_of
from bilp.data.pool import RealPool
from bilp.images import augment
from bilp.images.cutmix import Mix, draw_mix, mix_images, mixed_loss
from bilp.nets import Network
from bilp.seeds import generator
from bilp.training.replayed import Replayed


class RealStep:
    """One step of an optimizer on a mini-batch, mixed by CutMix or not; a GPU replays it as a graph."""

    def __init__(self, network: Network, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        """`optimizer` is of the network's parameters, which lie on `device`."""
        self._network, self._optimizer, self._device = network, optimizer, device
        self._replayed = Replayed(self._trained, device)

    def __call__(self, images: Tensor, labels: Tensor, mix: Mix | None) -> Tensor:
        """How many of the images `[B, C, H, W]`, which are mixed already, were taken for their own class of labels `[B]`, int64 `[]`."""
        if self._device.type != "cuda":
            logits = self._network(images)
            return self._taken(logits, labels, mixed_loss(logits, labels, mix))
        (right,) = self._replayed(images, labels, *((None, None) if mix is None else mix.on_device(self._device)))
        return right

    def _trained(self, images: Tensor, labels: Tensor, share: Tensor | None, partner: Tensor | None) -> tuple[Tensor]:
        """The same, with what `mixed_loss` takes from the host in tensors."""
        logits = self._network(images)
        loss = functional.cross_entropy(logits, labels)
        if share is not None and partner is not None:
            loss = share * loss + (1.0 - share) * functional.cross_entropy(logits, labels[partner])
        return (self._taken(logits, labels, loss),)

    def _taken(self, logits: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return (logits.detach().argmax(dim=1) == labels).sum()


@dataclass(frozen=True)
class RealTraining:
    """How a network is trained on the samples of `pool`."""

    pool: RealPool
    batch: int
    augment: tuple[str, ...]
    """Families of `augment.draw_combined`, fresh parameters per image."""
    cutmix: float
    """Share of mini-batches that are mixed."""
    seed: int
    device: torch.device
    _steps: dict[int, RealStep] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By the identity of their optimizers, which they keep."""

    def run(self, network: Network, optimizer: torch.optim.SGD, batches: Iterator[Tensor], *path: str | int) -> tuple[Tensor, int]:
        """One step on every mini-batch of sample_ids; images right, int64 on the device, and images seen.

        Chance comes from the stream under `path`.
        """
        network.train()
        stream = generator(self.seed, "real_augment", *path)
        side = side_of(self.pool.dataset.shape)
        has_batch_norm = any(isinstance(module, _BatchNorm) for module in network.modules())
        step = self._step(network, optimizer)
        taken = [ids for ids in batches if not (has_batch_norm and len(ids) == 1)]  # no statistics of a single sample
        drawn, mixes = [], []
        for ids in taken:
            drawn.append(augment.draw_combined(self.augment, side, stream, len(ids)))
            mixes.append(draw_mix(self.cutmix, side, len(ids), stream))
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        labels, sent = augment.send_with([self.pool.dataset.train.labels[ids] for ids in taken], drawn, side, self.device)
        for ids, own, params, mix in zip(taken, labels, sent, mixes, strict=True):
            images = augment.apply(self.pool.images(ids, self.device), params)
            right += step(mix_images(images, mix), own, mix)
        optimizer.zero_grad(set_to_none=True)
        return right, sum(map(len, taken))

    def epoch(self, *path: str | int) -> Iterator[Tensor]:
        """Mini-batches of sample_ids of one pass over the pool in random order."""
        return iter(self._order("real_order", *path).split(self.batch))

    def endless(self, *path: str | int) -> Iterator[Tensor]:
        """Mini-batches without end: the pool is gone through again and again, each time in another order."""
        for turn in itertools.count():
            yield from self.epoch(*path, turn)

    def steps(self, count: int, *path: str | int) -> Iterator[Tensor]:
        """Exactly `count` mini-batches of those."""
        return itertools.islice(self.endless(*path), count)

    def one_pass(self, waiting: Iterator[Tensor], most: int | None) -> Iterator[Tensor]:
        """The next mini-batches of `waiting` (see `endless`): whole ones until `most` samples are seen, or those of an epoch, which
        is never exceeded. So IDC's program does (train.py:251): 2000 samples in mini-batches of 64 are 32 of these, 2048."""
        seen = 0
        for ids in itertools.islice(waiting, -(-len(self.pool) // self.batch)):
            yield ids
            seen += len(ids)
            if most is not None and seen >= most:
                return

    def _step(self, network: Network, optimizer: torch.optim.SGD) -> RealStep:
        """The step of a network, which serves all its passes."""
        if id(optimizer) not in self._steps:
            self._steps[id(optimizer)] = RealStep(network, optimizer, self.device)
        return self._steps[id(optimizer)]

    def _order(self, *path: str | int) -> Tensor:
        ids = torch.cat(self.pool.by_class)
        return ids[torch.randperm(len(ids), generator=generator(self.seed, *path))]


def sgd(network: Network, learning_rate: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """A fresh optimizer of all parameters."""
    return torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True)


def without_cutout(families: Sequence[str], share: float) -> tuple[str, ...]:
    """The families of training under CutMix, which takes the place of cutout."""
    return tuple(name for name in families if share == 0.0 or not AUGMENTATIONS[name].erases)
