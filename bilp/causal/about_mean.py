"""Causal effects of samples whose vectors, and the mean that these are part of, are known: no pass of a real sample is needed.

The mean may be that of more samples than are measured, such as a whole class: an effect is that of leaving one of all of them out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.causal.batch import Augment, ClassBatch, Pair
from bilp.causal.cotangent import cotangent_differences
from bilp.causal.synthetic_images import Synthetic, parts
from bilp.errors import ConfigError
from bilp.matching import Matching, Vectors
from bilp.nets import Network


@dataclass(frozen=True)
class MeanVector:
    """The mean of the vectors of some samples."""

    blocks: Vectors
    """mu, blocks `[...]`."""
    count: int
    """Samples that it is the mean of."""


class AboutMean:
    """Effects on the synthetic images of a class of the samples behind a mean vector."""

    def __init__(
        self,
        matching: Matching,
        network: Network,
        synthetic: Pair,
        augment: Augment,
        mean: MeanVector,
        measured: int,
        byte_budget: int,
    ) -> None:
        """Nothing is computed yet. Raises ConfigError if the mean is that of a single sample.

        Args:
            matching: its cotangent and products with the Jacobian are used.
            network: must stay as it is.
            synthetic: stored images `[M, C, H, W]`, and one label for each image that `augment` makes of them.
            augment: from stored images to those that enter the network.
            mean: that of all samples of which one is left out.
            measured: of how many the effect will be asked for, about.
            byte_budget: bytes that products with the Jacobian may hold.
        """
        if mean.count < 2:
            raise ConfigError("the effect of a single sample is not defined: give at least two samples of the class")
        nothing = (synthetic[0][:0], synthetic[1][:0])
        self._matching, self._mean = matching, mean
        self._side = Synthetic(matching, network, [ClassBatch(nothing, synthetic, augment)], byte_budget, measured)

    def norms(self, phi: Vectors) -> Tensor:
        """|ITE_i| of samples with vectors `phi`, blocks `[k, ...]`: `[k]`, on their device."""
        found = []
        for part in parts(phi, self._side.pull.lanes):
            effects = self._side.effects(tuple(block.unsqueeze(1) for block in self._differences(part)))
            found.append(torch.linalg.vector_norm(effects.flatten(1), dim=1))
        return torch.cat(found)

    def pushed(self, directions: Tensor) -> list[Tensor]:
        """J v for directions `[d, M, C, H, W]` of the stored images: blocks in one row each, `[d, values]`."""
        return [block.sum(dim=1).flatten(1) for block in self._side.push(directions)]

    def along(self, phi: Vectors, pushed: list[Tensor]) -> Tensor:
        """<ITE_i, v> of samples with vectors `phi` for the directions of `pushed`: `[d, k]`."""
        pairs = zip(pushed, self._differences(phi), strict=True)
        return torch.stack([own @ cotangents.flatten(1).T for own, cotangents in pairs]).sum(dim=0)

    def _differences(self, phi: Vectors) -> Vectors:
        return cotangent_differences(self._matching, self._mean.blocks, phi, self._side.psi_of(0), self._mean.count)
