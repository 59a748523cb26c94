"""An encoder that nothing trains while images are distilled, under linear classifiers that are drawn anew."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.data.pool import RealPool
from bilp.distill.step.pretrained import PretrainedNetworks
from bilp.matching.head_gradient import HeadInputs
from bilp.matching.per_sample import micro_batch_size
from bilp.nets import Network, initialize
from bilp.nets.by_device import ByDevice
from bilp.nets.supplied_encoder import SuppliedEncoder
from bilp.seeds import generator

ROOM = 2**30
"""Bytes of features that a device keeps; more of them stay in the machine's memory."""
READ_AT_ONCE = 512
"""Real samples that are read together on their way to features."""
SUPPLIED_BYTES = ByDevice(cpu=512 * 2**20, gpu=2 * 2**30, large=16 * 2**30)
"""What one pass through a supplied encoder may hold."""


@dataclass(frozen=True)
class Supplied:
    """An encoder that a user supplies, and the features of all samples of the train split under it, if these are supplied, too."""

    network: SuppliedEncoder
    features: Tensor | None = None
    """float32 `[N, F]`."""


def pass_images(network: Network, device: torch.device) -> int:
    """Images of a pass through a supplied encoder; 0 for other networks, which are measured otherwise."""
    if not isinstance(network, SuppliedEncoder):
        return 0
    return max(1, SUPPLIED_BYTES.on(device) // network.image_bytes)


class FrozenEncoder:
    """One of several encoders, in a network that it alone changes, and the features of real samples under each of them.

    Encoders are pretrained networks, or one that is supplied, or one with random weights where there are none of these. A real sample
    passes each once, as it is, without augmentation.
    """

    def __init__(
        self,
        network: Network,
        pool: RealPool,
        given: PretrainedNetworks | Supplied | None,
        seed: int,
        deviation: float,
        device: torch.device,
    ) -> None:
        """Nothing is loaded or computed yet.

        Args:
            network: what an encoder is loaded into.
            pool: the real samples.
            given: the encoders; of one that is supplied `network` is it.
            seed: of the encoder that has random weights, of the choice among several, and of the classifiers.
            deviation: standard deviation of the classifiers' weights.
            device: where features are wanted.
        """
        self.network, self._pool, self._given, self._seed = network, pool, given, seed
        self._deviation, self._device = deviation, device
        self._current: int | None = None
        self._tables: dict[int, Tensor] = {}
        self._ids = torch.cat(pool.by_class).sort().values

    def draw(self, *path: str | int) -> None:
        """One of the encoders, and a classifier with weights N(0, deviation^2) and biases 0, from the streams called `path`."""
        count = len(self._given) if isinstance(self._given, PretrainedNetworks) else 1
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
        if self._given is None:
            initialize(self.network, generator(self._seed, "encoder"))
        elif isinstance(self._given, PretrainedNetworks):
            self._given.load(which, self.network)
        self.network.eval().requires_grad_(False)
        self._current = which

    @torch.no_grad()
    def _passed(self) -> Tensor:
        """Features of all real samples in the order of their numbers, float32 `[N, F]`."""
        if isinstance(self._given, Supplied) and self._given.features is not None:
            return self._given.features[self._ids]
        size = 4 * len(self._ids) * self.network.classifier.in_features
        where, parts = self._device if size <= ROOM else torch.device("cpu"), list[Tensor]()
        for ids in self._ids.split(READ_AT_ONCE):
            images = self._pool.images(ids, self._device)
            at_once = pass_images(self.network, self._device) or micro_batch_size(images)
            parts += [self.network.embed(part).to(where) for part in images.split(at_once)]
        return torch.cat(parts)
