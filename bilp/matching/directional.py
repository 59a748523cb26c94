"""How the cotangent q(mu, psi) = dD/dpsi changes when the mean mu moves: what a first-order form of the causal effect needs."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

from bilp.matching.base import Matching, Vectors
from bilp.matching.pushforward import forward_mode


def directional(matching: Matching, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
    """(dq/dmu) d at mu for directions d with leading axis k; the result has it too.

    By the matching's own `directional` (mu, psi, along) if it has one, otherwise by differentiating its `cotangent`,
    which must then be made of differentiable operations.
    """
    own = getattr(matching, "directional", None)
    if own is not None:
        found: Vectors = own(mu, psi, along)
        return found
    return generic_directional(matching, mu, psi, along)


def generic_directional(matching: Matching, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
    """The same for any matching, in forward mode. Zero where the cotangent is constant."""
    with torch.no_grad(), forward_mode():
        moving = tuple(forward_ad.make_dual(a.expand_as(d).contiguous(), d) for a, d in zip(mu, along, strict=True))
        changes = [forward_ad.unpack_dual(block).tangent for block in matching.cotangent(moving, psi)]
    return tuple(torch.zeros_like(d) if change is None else change.clone() for change, d in zip(changes, along, strict=True))
