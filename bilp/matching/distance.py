"""Distances between a mean real vector mu and the synthetic vector psi, and their derivatives in closed form.

Closed forms matter: the causal effect of a sample is J^T [q(mu) - q(mu without the sample)], so q is needed for every
sample of a batch at once, while the synthetic side is differentiated only once. docs/notation.md names the symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.matching.jacobian import Vectors

EPSILON = 1e-6


@dataclass(frozen=True)
class Distance:
    """D with its derivatives in closed form; mu and psi are blocks of the same shapes."""

    value: Callable[[Vectors, Vectors], Tensor]
    """D(mu, psi), a scalar."""
    by_class: Callable[[Vectors, Vectors], Tensor]
    """The same `[K]` of blocks of mu and psi with a leading axis K, to the bit."""
    cotangent: Callable[[Vectors, Vectors], Vectors]
    """q(mu, psi) = dD/dpsi. A leading axis of both gives one of the result, and so does one more of mu alone."""
    directional: Callable[[Vectors, Vectors, Vectors], Vectors]
    """(dq/dmu) d from mu, psi and directions d with a leading axis, which the result has too."""


def squared(mu: Vectors, psi: Vectors) -> Tensor:
    """Squared Euclidean distance summed over blocks (Zhao & Bilen 2023, equation 4)."""
    return torch.stack([(a - b).square().sum() for a, b in zip(mu, psi, strict=True)]).sum()


def squared_by_class(mu: Vectors, psi: Vectors) -> Tensor:
    """`squared` `[K]` of blocks `[K, ...]`."""
    return _over_blocks([(a - b).square().flatten(1).sum(dim=1) for a, b in zip(mu, psi, strict=True)])


def squared_cotangent(mu: Vectors, psi: Vectors) -> Vectors:
    """dD/dpsi of `squared`: 2 (psi - mu). A leading axis of mu gives one of the result."""
    return tuple(2.0 * (b - a) for a, b in zip(mu, psi, strict=True))


def squared_directional(mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
    """Derivative of `squared_cotangent` when mu moves along directions: -2 times these, wherever mu is."""
    return tuple(-2.0 * d for d in along)


def absolute(mu: Vectors, psi: Vectors) -> Tensor:
    """Sum over all values of |mu - psi| (Kim et al. 2022, appendix: the metric of MNIST, FashionMNIST and ImageNet)."""
    return torch.stack([(a - b).abs().sum() for a, b in zip(mu, psi, strict=True)]).sum()


def absolute_by_class(mu: Vectors, psi: Vectors) -> Tensor:
    """`absolute` `[K]` of blocks `[K, ...]`."""
    return _over_blocks([(a - b).abs().flatten(1).sum(dim=1) for a, b in zip(mu, psi, strict=True)])


def absolute_cotangent(mu: Vectors, psi: Vectors) -> Vectors:
    """dD/dpsi of `absolute`: sign(psi - mu), 0 where they are equal. A leading axis of mu gives one of the result.

    It is constant but for jumps, so a sample has an effect exactly through the values whose sign it decides; a first
    order expansion in the sample would find none at all.
    """
    return tuple((b - a).sign_() for a, b in zip(mu, psi, strict=True))


def absolute_directional(mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
    """Derivative of `absolute_cotangent` when mu moves along directions: zero, but for the jumps."""
    return tuple(torch.zeros_like(d) for d in along)


def rowwise_cosine(mu: Vectors, psi: Vectors) -> Tensor:
    """Sum over all rows of all blocks `[rows, columns]` of 1 - <a, b> / (|a| |b| + 1e-6) (Zhao et al. 2021, section 3).

    A row of zeros on either side counts 1.
    """
    return rowwise_cosine_by_class(mu, psi)


def rowwise_cosine_by_class(mu: Vectors, psi: Vectors) -> Tensor:
    """`rowwise_cosine` of blocks `[..., rows, columns]`, one for each class of the leading axis K: `[K]`, or a scalar without one."""
    return _over_blocks([_block_distance(a, b) for a, b in zip(mu, psi, strict=True)])


def rowwise_cosine_cotangent(mu: Vectors, psi: Vectors) -> Vectors:
    """dD/dpsi of `rowwise_cosine`, for blocks `[rows, columns]`; leading axes as `Distance.cotangent` says.

    With s = <a, b> and n = |a| |b| + 1e-6, a row of the result is -a / n + s |a| b / (|b| n^2). The norm's derivative
    at a row b = 0 is taken as 0, as autograd does, so every row is finite.
    """
    return tuple(_block_cotangent(a, b) for a, b in zip(mu, psi, strict=True))


def rowwise_cosine_directional(mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
    """Derivative of `rowwise_cosine_cotangent` when mu moves along directions with leading axis k; the result has it too.

    With t = <a, d> / |a| the change of |a|, a row is -d / n + t |b| a / n^2
    + (<d, b> |a| + <a, b> t - 2 <a, b> |a| t |b| / n) b / (|b| n^2). At a row a = 0, which has no direction, t is 0.
    """
    return tuple(_block_directional(a, b, d) for a, b, d in zip(mu, psi, along, strict=True))


SQUARED = Distance(squared, squared_by_class, squared_cotangent, squared_directional)
ABSOLUTE = Distance(absolute, absolute_by_class, absolute_cotangent, absolute_directional)
ROWWISE_COSINE = Distance(rowwise_cosine, rowwise_cosine_by_class, rowwise_cosine_cotangent, rowwise_cosine_directional)


def _over_blocks(parts: Sequence[Tensor]) -> Tensor:
    """The sum of what every block adds, `[K]` each or a scalar; the values of a class lie side by side, so that it is the same sum."""
    return torch.stack(tuple(parts), dim=-1).sum(dim=-1)


def _norm(rows: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1)
    return lengths


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> per row; one matrix product per row where a has one leading axis more, which needs no memory of the size of a."""
    if a.dim() == b.dim():
        products: Tensor = torch.linalg.vecdot(a, b)
        return products
    rows = torch.bmm(a.flatten(1, -2).transpose(0, 1), b.flatten(0, -2).unsqueeze(-1)).squeeze(-1)
    by_row: Tensor = rows.T.unflatten(1, b.shape[:-1])
    return by_row


def _block_distance(a: Tensor, b: Tensor) -> Tensor:
    return (1.0 - _dot(a, b) / (_norm(a) * _norm(b) + EPSILON)).sum(dim=-1)


def _block_cotangent(a: Tensor, b: Tensor) -> Tensor:
    norm_a, norm_b = _norm(a), _norm(b)
    scale = norm_a * norm_b + EPSILON
    along_b = _dot(a, b) * norm_a / scale.square() / torch.where(norm_b > 0, norm_b, torch.ones_like(norm_b))
    return (a * (-1.0 / scale).unsqueeze(-1)).addcmul_(along_b.unsqueeze(-1), b)


def _block_directional(a: Tensor, b: Tensor, d: Tensor) -> Tensor:
    norm_a, norm_b = _norm(a), _norm(b)
    scale, along_a = norm_a * norm_b + EPSILON, _dot(a, b)
    growth = _dot(d, a) / torch.where(norm_a > 0, norm_a, torch.ones_like(norm_a))
    by_b = _dot(d, b) * norm_a + along_a * growth * (1.0 - 2.0 * norm_a * norm_b / scale)
    by_b = by_b / scale.square() / torch.where(norm_b > 0, norm_b, torch.ones_like(norm_b))
    result = d * (-1.0 / scale).unsqueeze(-1)
    result.addcmul_((growth * norm_b / scale.square()).unsqueeze(-1), a)
    return result.addcmul_(by_b.unsqueeze(-1), b)
