"""The causal effect of every sample of a batch, exactly, without leaving samples out one by one.

With q = dD/dpsi in closed form and J = dpsi/dS, the meta-gradient is J^T q(mu). Removing sample i turns the mean mu
into mu - d_i with d_i = (phi_i - mu) / (B - 1), so

    ITE_i = J^T [ q(mu) - q(mu - d_i) ]

needs one vector-Jacobian product per sample, through the synthetic images only.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bilp.causal.synthetic import Synthetic, parts
from bilp.causal.vectors import RealVectors
from bilp.matching import Matching, Vectors

# A sample this close to the mean, relative to the mean's length and in units of the floating point resolution, equals
# it: what is left is rounding noise, and its effect is zero.
NOISE = 256.0


def exact_effects(matching: Matching, vectors: RealVectors, side: Synthetic) -> Iterator[Tensor]:
    """ITE of consecutive real samples in chunks `[k, M, C, H, W]`, all B in order."""
    for phi in vectors.chunks():
        for part in parts(phi, side.pull.lanes):
            yield side.effects(cotangent_differences(matching, vectors.mean, part, side.psi, len(vectors)))


def cotangent_differences(matching: Matching, mean: Vectors, phi: Vectors, psi: Vectors, count: int) -> Vectors:
    """q(mean) - q(mean - d_i) for the samples with vectors phi_i (leading axis), out of a batch of `count`."""
    apart = tuple(block - centre for block, centre in zip(phi, mean, strict=True))
    differs = beyond_noise(apart, mean)
    # In place from here on: at hundreds of megabytes, every fresh tensor costs more than the arithmetic on it.
    without = tuple(block.mul_(1.0 / (1 - count)).add_(centre) for block, centre in zip(apart, mean, strict=True))
    rest = matching.cotangent(without, psi)
    whole = matching.cotangent(mean, psi)
    result = tuple(torch.sub(q, q_rest, out=q_rest) for q, q_rest in zip(whole, rest, strict=True))
    if not bool(differs.all()):
        for block in result:
            block[~differs] = 0.0
    return result


def beyond_noise(apart: Vectors, mean: Vectors) -> Tensor:
    """Whether each sample differs from the mean by more than rounding, bool `[k]`, from differences with leading axis k."""
    lengths = torch.stack([torch.linalg.vector_norm(block.flatten(1), dim=1) for block in apart])
    whole = torch.stack([torch.linalg.vector_norm(block) for block in mean])
    resolution = NOISE * torch.finfo(whole.dtype).eps
    differs: Tensor = torch.linalg.vector_norm(lengths, dim=0) > resolution * torch.linalg.vector_norm(whole)
    return differs
