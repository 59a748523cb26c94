"""An encoder that nothing trains while images are distilled, under linear classifiers that are drawn anew."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.data.pool import RealPool
from bilp.distill.step.pretrained import PretrainedNetworks
from bilp.matching.head_gradient import HeadInputs
from bilp.matching.per_sample import micro_batches
from bilp.nets import Network, initialize
from bilp.seeds import generator

ROOM = 2**30
"""Bytes of features that a device keeps; more of them stay in the machine's memory."""
READ_AT_ONCE = 512
"""Real samples that are read together on their way to features."""


class FrozenEncoder:
    """One of several encoders, in a network that it alone changes, and the features of real samples under each of them.

    Encoders are pretrained networks, or a single network with random weights where there are none. A real sample passes each once, as
    it is, without augmentation.
    """

    def __init__(
        self, network: Network, pool: RealPool, pretrained: PretrainedNetworks | None, seed: int, deviation: float, device: torch.device
    ) -> None:
        """Nothing is loaded or computed yet.

        Args:
            network: what an encoder is loaded into.
            pool: the real samples.
            pretrained: the encoders.
            seed: of the encoder that has random weights, of the choice among several, and of the classifiers.
            deviation: standard deviation of the classifiers' weights.
            device: where features are wanted.
        """
        self.network, self._pool, self._pretrained, self._seed = network, pool, pretrained, seed
        self._deviation, self._device = deviation, device
        self._current: int | None = None
        self._tables: dict[int, Tensor] = {}
        self._ids = torch.cat(pool.by_class).sort().values

    def draw(self, *path: str | int) -> None:
        """One of the encoders, and a classifier with weights N(0, deviation^2) and biases 0, from the streams called `path`."""
        count = 1 if self._pretrained is None else len(self._pretrained)
        which = int(torch.randint(count, (1,), generator=generator(self._seed, "pretrained_choice", *path))) if count > 1 else 0
        if which != self._current:
            self._load(which)
        drawn = torch.randn(self.network.classifier.weight.shape, generator=generator(self._seed, "head", *path))
        with torch.no_grad():
            self.network.classifier.weight.copy_(self._deviation * drawn)
            self.network.classifier.bias.zero_()

    def real(self, ids: Tensor, labels: Tensor) -> HeadInputs:
        """What the classifier sees of real samples, int64 `[n]` both."""
        assert self._current is not None, "no encoder was drawn"
        if self._current not in self._tables:
            self._tables[self._current] = self._passed()
        table = self._tables[self._current]
        rows = torch.searchsorted(self._ids, ids.cpu()).to(table.device)
        return HeadInputs.of(table[rows].to(self._device), labels, self.weight)

    @property
    def weight(self) -> Tensor:
        """Weights of the classifier `[C, F]`, detached."""
        return self.network.classifier.weight.detach()

    def _load(self, which: int) -> None:
        if self._pretrained is None:
            initialize(self.network, generator(self._seed, "encoder"))
        else:
            self._pretrained.load(which, self.network)
        self.network.eval().requires_grad_(False)
        self._current = which

    @torch.no_grad()
    def _passed(self) -> Tensor:
        """Features of all real samples in the order of their numbers, float32 `[N, F]`."""
        size = 4 * len(self._ids) * self.network.classifier.in_features
        where, parts = self._device if size <= ROOM else torch.device("cpu"), list[Tensor]()
        for ids in self._ids.split(READ_AT_ONCE):
            images = self._pool.images(ids, self._device)
            parts += [self.network.embed(images[rows]).to(where) for rows in micro_batches(images)]
        return torch.cat(parts)
