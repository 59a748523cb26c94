"""Vectors of real samples under a network that nothing changes: each sample passes it once, as far as there is room for what it said."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bilp.data.pool import RealPool
from bilp.matching import Matching, Vectors
from bilp.matching.base import shares_of
from bilp.nets import Network
from bilp.nets.by_device import ByDevice

HELD_BYTES = ByDevice(cpu=2**30, gpu=2 * 2**30, large=16 * 2**30)
"""Vectors that are held of all classes together; those of further classes are computed whenever they are asked for."""
READ_AT_ONCE = 512
"""Real samples that are read together on their way to vectors."""


class ClassStatistics:
    """phi of the real samples of each class, and means of it. The network must stay as it is."""

    def __init__(self, matching: Matching, network: Network, pool: RealPool, device: torch.device) -> None:
        """Nothing is computed yet.

        Args:
            matching: whose vectors are meant.
            network: a frozen one.
            pool: the real samples.
            device: where the network lies.
        """
        self._matching, self._network, self._pool, self._device = matching, network, pool, device
        self._held: dict[int, Vectors] = {}
        self._room = HELD_BYTES.on(device)

    def chunks(self, class_index: int, ids: Tensor) -> Iterator[Vectors]:
        """phi of samples `ids` `[n]` of a class, in their order: blocks `[k, ...]` of consecutive ones."""
        known = self._of_class(class_index)
        for part in ids.split(READ_AT_ONCE):
            if known is None:
                yield self._computed(class_index, part)
            else:
                rows = torch.searchsorted(self._pool.by_class[class_index], part.cpu()).to(self._device)
                yield tuple(block[rows] for block in known)

    def mean(self, class_index: int, ids: Tensor, weights: Tensor | None = None) -> Vectors:
        """Mean vector of samples `ids` `[n]` of a class, weighted by `weights` `[n]` if there are any; summed in float64."""
        shares = None if weights is None else shares_of(weights, len(ids))
        shares = torch.full((len(ids),), 1.0 / len(ids), dtype=torch.float64) if shares is None else shares
        sums: list[Tensor] = []
        like: Vectors = ()
        for own, blocks in zip(shares.to(self._device).split(READ_AT_ONCE), self.chunks(class_index, ids), strict=True):
            parts, like = [own @ block.double() for block in blocks], blocks
            sums = parts if not sums else [total.add_(part) for total, part in zip(sums, parts, strict=True)]
        return tuple(total.to(block) for total, block in zip(sums, like, strict=True))

    def _of_class(self, class_index: int) -> Vectors | None:
        """phi of all samples of a class in the order of their numbers; None if there is no room for them."""
        if class_index not in self._held:
            ids = self._pool.by_class[class_index]
            size = 4 * self._matching.values(self._network) * len(ids)
            if size > self._room:
                return None
            parts = [self._computed(class_index, part) for part in ids.split(READ_AT_ONCE)]
            self._held[class_index] = tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))
            self._room -= size
        return self._held[class_index]

    def _computed(self, class_index: int, ids: Tensor) -> Vectors:
        images = self._pool.images(ids, self._device)
        labels = torch.full((len(ids),), class_index, dtype=torch.int64, device=self._device)
        return self._matching.real(self._network, images, labels)
