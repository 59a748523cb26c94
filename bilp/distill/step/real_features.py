"""Features of real batches that stand for several image steps on one network: they are computed once.

A batch as large as its class is the whole class, so that nothing of the real side changes while a network stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bilp.distill.step.batch import Batch, Target
from bilp.distill.step.setting import Setting
from bilp.matching.characteristic import CharacteristicMatching
from bilp.matching.per_sample import micro_batches
from bilp.nets.by_device import ByDevice

HELD_BYTES = ByDevice(cpu=2**30, gpu=2 * 2**30, large=16 * 2**30)
"""Features that are held of all classes together; those of further classes are computed in every image step."""


class RealFeatures:
    """The features of the real batches under the network as it is."""

    def __init__(self, setting: Setting, matching: CharacteristicMatching) -> None:
        """Nothing is held yet."""
        self._setting, self._matching = setting, matching
        self._held: dict[int, tuple[Tensor, Tensor]] = {}
        self._bytes = 0

    def forget(self) -> None:
        """Let go of everything, because the network or the augmentation changes."""
        self._held.clear()
        self._bytes = 0

    def targets(self, batches: Sequence[Batch]) -> Iterator[Target]:
        """What the classes are matched to at the frequencies of now. Batches of a class have the same augmentation every time."""
        for batch in batches:
            yield Target(batch, self._matching.mean_of_features(self._of(batch), batch.shares))

    @torch.no_grad()
    def _of(self, batch: Batch) -> Tensor:
        """`[n, F]` in the order of the batch."""
        known = self._held.get(batch.class_index)
        if known is not None and torch.equal(known[0], batch.ids):
            return known[1]
        setting = self._setting
        images = batch.images(setting)
        self._matching.check(setting.real_network, images, setting.class_labels(batch.class_index, len(images)))
        features = torch.cat([setting.real_network.embed(images[rows]) for rows in micro_batches(images)])
        size = features.numel() * features.element_size()
        if known is not None:
            del self._held[batch.class_index]
            self._bytes -= known[1].numel() * known[1].element_size()
        if self._bytes + size <= HELD_BYTES.on(setting.device):
            self._held[batch.class_index] = (batch.ids, features)
            self._bytes += size
        return features
