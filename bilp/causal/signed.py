"""The signed effect of every sample of a class: its causal effect's component along given directions of the synthetic images.

With c_i = q(mu) - q(mu - d_i) the effect is ITE_i = J^T c_i, so <ITE_i, v> = <c_i, J v>: one forward derivative J v through the
synthetic images serves all samples, and each costs a product of two vectors. A step S <- S - lr G becomes S - lr (G - ITE_i)
without sample i. So where v is the gradient of a loss with respect to S, that loss would change by lr <ITE_i, v> to first order:
samples with a negative value do harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.causal.batch import ClassBatch
from bilp.causal.cotangent import cotangent_differences
from bilp.causal.effect_settings import DEFAULTS, EffectSettings
from bilp.causal.synthetic_images import Synthetic
from bilp.causal.vectors import RealVectors
from bilp.errors import ConfigError
from bilp.matching import Matching, Vectors
from bilp.nets import Network


@dataclass(frozen=True)
class Signed:
    """Components of the effects of a batch, and the mean vector of any part of it."""

    along: Tensor
    """<ITE_i, v_k>, float32 `[k, B]`."""
    mean_of: Callable[[Tensor], Vectors]
    """See `bilp.causal.group.Measured`."""
    weighted_mean: Callable[[Tensor], Vectors]
    """See `bilp.causal.group.Measured`."""


def signed_effects(
    matching: Matching, network: Network, batch: ClassBatch, directions: Tensor, settings: EffectSettings = DEFAULTS
) -> Signed:
    """<ITE_i, v> of every real sample of a class for directions `[k, M, C, H, W]` of its stored images, exactly, detached.

    The byte budget bounds the real samples' vectors that are held; k + 1 vectors more are needed. Raises ConfigError for a single
    real sample, or if batch norm couples the samples.
    """
    if len(batch.real[0]) < 2:
        raise ConfigError("the effect of a single sample is not defined: give at least two samples of the class")
    side = Synthetic(matching, network, [batch], settings.byte_budget)
    along = [block.sum(dim=1).flatten(1) for block in side.push(directions)]
    vectors = RealVectors(matching, network, batch.real, settings.byte_budget // max(side.vector_bytes, 1))
    found = []
    for phi in vectors.chunks():
        cotangents = cotangent_differences(matching, vectors.mean, phi, side.psi_of(0), len(vectors))
        found.append(torch.stack([own @ c.flatten(1).T for own, c in zip(along, cotangents, strict=True)]).sum(dim=0))
    return Signed(torch.cat(found, dim=1).float().detach(), vectors.mean_of, vectors.weighted_mean)
