"""The causal effect to first order in what a sample adds to the mean, as the paper has it.

ITE_i ~ J^T [ (dq/dmu) d_i ] with d_i = (phi_i - mu) / (B - 1): exact for squared distances, where q is linear in mu.
It costs as much as the exact form (`bilp.causal.cotangent`), which is therefore the better choice; this one is for comparison.
"""

from __future__ import annotations

import torch

from bilp.errors import ConfigError
from bilp.matching import Matching, Vectors


def first_order_differences(matching: Matching, mean: Vectors, apart: Vectors, psi: Vectors, count: int) -> Vectors:
    """(dq/dmu) d_i with d_i = `apart` / (count - 1), blocks `[k, ...]`. Overwrites `apart`.

    Args:
        matching: Its `directional` is used.
        mean: The mean vector of the batch, blocks `[...]`.
        apart: phi_i - mean of some samples, blocks `[k, ...]`.
        psi: The synthetic vector, blocks `[...]`.
        count: Samples B of the batch.
    """
    return matching.directional(mean, psi, tuple(block.mul_(1.0 / (count - 1)) for block in apart))


def require_curvature(matching: Matching, psi: Vectors) -> None:
    """Raises ConfigError for a distance whose cotangent does not follow a small change of the mean, such as l1.

    Tried at twice psi and half of it, along a change of every value; psi is one vector, detached.
    """
    for factor in (2.0, 0.5):
        changes = matching.directional(tuple(factor * block + 1.0 for block in psi), psi, tuple(torch.ones_like(b)[None] for b in psi))
        alternating = tuple(torch.arange(b.numel(), device=b.device).remainder(2).to(b).view_as(b)[None] for b in psi)
        changes += matching.directional(tuple(factor * block + 1.0 for block in psi), psi, alternating)
        if any(bool(change.any()) for change in changes):
            return
    raise ConfigError(
        f"estimator taylor finds no effect for {matching.name}: its distance is linear in pieces (l1), so to first order a single "
        "sample changes nothing: use estimator cotangent, which is exact and costs the same"
    )
