"""Causal effects where real samples act through the mean of gradients phi_i at the end of a training (`bilp.matching.query`).

The loss is the mean over C classes of the means over their samples, and its gradient is J^T of the same mean of phi. Leaving out sample
i of a class of n changes it by exactly

    ITE_i = J^T (phi_i - mean of its class) / (C (n - 1)),

linear in phi_i. Its norm takes a way back through the training for every sample. An estimate takes a way forward for each of some normal
directions z, which all samples share: the mean of <ITE_i, z>^2 over z is |ITE_i|^2. A signed effect <ITE_i, v> takes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bilp.errors import ConfigError
from bilp.matching.jacobian import Vectors
from bilp.matching.query import losses_along
from bilp.nets import Network

WORTH = 3
"""An estimate is taken where so many times its directions are less than the samples, each of which would take a way back of its own."""
Pull = Callable[[Sequence[Vectors]], list[Tensor]]
"""J^T of some vectors: a flat vector for each."""
TOGETHER = 8
"""Samples whose vectors are taken back together."""


@dataclass(frozen=True)
class Asked:
    """Real samples of one class at the end of a training."""

    network: Network
    images: Tensor
    """As they enter it, `[n, C, H, W]`."""
    labels: Tensor
    """int64 `[n]`."""
    classes: int
    """C: how many classes the loss is a mean over."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a single sample."""
        if len(self.images) < 2:
            raise ConfigError("the effect of a single sample is not defined: give at least two samples of the class")

    @property
    def scale(self) -> float:
        """1 / (C (n - 1))."""
        return 1.0 / (self.classes * (len(self.images) - 1))

    def vectors(self) -> Iterator[list[Vectors]]:
        """phi of all samples in order, some at a time."""
        for rows in torch.arange(len(self.images)).split(TOGETHER):
            yield [self._vector(row) for row in rows.tolist()]

    def _vector(self, row: int) -> Vectors:
        with torch.enable_grad():
            loss = functional.cross_entropy(self.network(self.images[row : row + 1]), self.labels[row : row + 1])
        return torch.autograd.grad(loss, list(self.network.parameters()), materialize_grads=True)

    def mean(self) -> Vectors:
        """The mean of phi."""
        sums: Vectors = tuple(torch.zeros_like(value) for value in self.network.parameters())
        for vectors in self.vectors():
            sums = tuple(torch.stack([total, *blocks]).sum(dim=0) for total, *blocks in zip(sums, *vectors, strict=True))
        return tuple(total / len(self.images) for total in sums)


def prefers_sketch(samples: int, directions: int) -> bool:
    """Whether an estimate from so many directions is clearly cheaper for so many samples."""
    return samples > WORTH * directions


def effect_norms(asked: Asked, pull: Pull) -> Tensor:
    """|ITE_i| of every sample, exactly, `[n]`."""
    mean, found = asked.mean(), list[Tensor]()
    for vectors in asked.vectors():
        apart = [tuple(own - center for own, center in zip(phi, mean, strict=True)) for phi in vectors]
        found += [asked.scale * torch.linalg.vector_norm(value) for value in pull(apart)]
    return torch.stack(found)


def leave_one_out_norms(asked: Asked, pull: Pull, others: Vectors) -> Tensor:
    """The same by their definition: the gradient of the loss, and that of the loss without each sample. Slow.

    Args:
        asked: the samples of one class.
        pull: J^T.
        others: what the other classes add to the mean of phi.
    """
    count, phi = len(asked.images), [own for vectors in asked.vectors() for own in vectors]

    def gradient(kept: Sequence[int]) -> Tensor:
        shares = 1.0 / (asked.classes * len(kept))
        sums = (torch.stack([phi[i][block] for i in kept]).sum(dim=0) for block in range(len(others)))
        return pull([tuple(other + shares * total for other, total in zip(others, sums, strict=True))])[0]

    everyone = gradient(range(count))
    return torch.stack([torch.linalg.vector_norm(everyone - gradient([j for j in range(count) if j != i])) for i in range(count)])


def sketched_norms(asked: Asked, moved: Sequence[Vectors]) -> Tensor:
    """Estimates of |ITE_i| `[n]` from `moved` = J z of normal directions z."""
    return effects_along(asked, moved).square().mean(dim=0).sqrt()


def effects_along(asked: Asked, moved: Sequence[Vectors]) -> Tensor:
    """<ITE_i, v> of every sample and each of some directions v, `[K, n]`, exactly, where `moved` has J v of each."""
    along = losses_along(asked.network, asked.images, asked.labels, moved)
    return torch.stack([asked.scale * (own - own.mean()) for own in along])
