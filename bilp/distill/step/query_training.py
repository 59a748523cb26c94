"""The training of a new network on the synthetic images at whose end LinBa asks real images: all that is drawn for it, and its
derivative."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.step.memory_steps import Memories
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.matching.jacobian import Vectors
from bilp.matching.trajectory import TrainingStep
from bilp.matching.unrolled import HELD_BYTES, Momentum, UnrolledTraining
from bilp.nets import Network, initialize
from bilp.seeds import generator

AT_ONCE = 8
"""Vectors that are taken through a training together: as many copies of the network's parameters are held."""


class QueryTraining:
    """The last training of a network that is used again and again; `train` comes first."""

    params: AugParams | None
    """Augmentation of all steps, and of the real images after them."""
    training: UnrolledTraining
    memories: Memories
    """Those that the images were made of."""

    def __init__(self, network: Network, pool: RealPool, config: DistillConfig, device: torch.device) -> None:
        """`network` lies on `device`."""
        self._network, self._pool, self._config, self._device = network, pool, config, device
        self.held_bytes = HELD_BYTES

    def train(self, state: DistillState, *path: str | int) -> None:
        """A new network and its training on the images of `state`, from the streams under `path`; the network has its parameters then."""
        config, settings = self._config, self._config.memories
        self.memories = Memories(config, state)
        side = (state.images.shape[-2], state.images.shape[-1])
        self._network.train()
        initialize(self._network, generator(config.seed, "network", *path))
        drawn = augment.draw(config.augment, side, generator(config.seed, "query_augment", *path))
        (self.params,) = augment.send([drawn], side, self._device)
        self.rows = self._rows(len(state.images), *path)
        steps = [TrainingStep(rows, self.params) for rows in self.rows]
        sgd = Momentum(settings.step_size, settings.step_momentum)
        self.training = UnrolledTraining(self._network, state.images, state.labels, steps, sgd, self.held_bytes)

    def pull(self, vectors: Sequence[Vectors]) -> list[Tensor]:
        """Vectors at the trained parameters, taken back to memories and coefficients, one flat vector for each."""
        return self.memories.pull(self.training.pull(vectors))

    def push(self, directions: Sequence[Tensor]) -> list[Vectors]:
        """How the trained parameters move along directions of memories and coefficients, flat vectors as `pull` gives them."""
        found: list[Vectors] = []
        for start in range(0, len(directions), AT_ONCE):
            found += self.training.push(self.memories.push(directions[start : start + AT_ONCE]))
        return found

    def real(self, ids: Tensor) -> Tensor:
        """Real images `[n, C, H, W]` as the trained network is asked about them."""
        return augment.apply(self._pool.images(ids, self._device), self.params)

    def _rows(self, images: int, *path: str | int) -> list[Tensor]:
        """Rows of each mini-batch: of every class so many, in their order."""
        ipc, stream = self._config.ipc, generator(self._config.seed, "query_order", *path)
        wanted = min(self._config.memories.per_class, ipc)
        steps = []
        for _ in range(self._config.memories.steps):
            chosen = [torch.randperm(ipc, generator=stream)[:wanted].sort().values + first for first in range(0, images, ipc)]
            steps.append(torch.cat(chosen))
        return list(torch.stack(steps).to(self._device))
