"""The causal effect of every sample of a batch, exactly, without leaving samples out one by one.

The meta-gradient is J^T q(mu), with q in closed form. Removing sample i turns the mean mu into mu - d_i with
d_i = (phi_i - mu) / (B - 1), so

    ITE_i = J^T [ q(mu) - q(mu - d_i) ]

needs one vector-Jacobian product per sample, through the synthetic images only. docs/notation.md names the symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from bilp.causal.synthetic_images import Synthetic, parts
from bilp.causal.vectors import RealVectors, held_by_all
from bilp.matching import Matching, Vectors

# A sample this close to the mean, relative to the mean's length and in units of the floating point resolution, equals
# it: what is left is rounding noise, and its effect is zero.
NOISE = 256.0

Differences = Callable[[Matching, Vectors, Vectors, Vectors, int], Vectors]
"""Cotangents whose product with J^T are the effects, from the mean, the differences phi_i - mu of some samples, which may be
overwritten, psi and the number of samples."""


def effects_by(differences: Differences, matching: Matching, vectors: Sequence[RealVectors], side: Synthetic) -> Iterator[Tensor]:
    """J^T of the `differences` of consecutive real samples of every class in chunks `[k, K, M, C, H, W]`, all in order.

    Classes with fewer samples than others end in zeros.
    """
    if differences is exact_differences and side.stored.device.type != "cpu" and (held := held_by_all(vectors)) is not None:
        yield from _of_all_classes(matching, vectors, held, side)
        return
    streams = [(part for phi in own.chunks() for part in parts(phi, side.pull.lanes)) for own in vectors]
    for some in zip_longest(*streams):
        found = [
            differences_by(differences, matching, own.mean, phi, side.psi_of(c), len(own))
            for c, (own, phi) in enumerate(zip(vectors, some, strict=True))
            if phi is not None
        ]
        yield side.effects(by_class(found, [c for c, phi in enumerate(some) if phi is not None], len(vectors)))


def _of_all_classes(matching: Matching, vectors: Sequence[RealVectors], held: Sequence[Vectors], side: Synthetic) -> Iterator[Tensor]:
    """The exact effects, from the same operations for all classes: on a GPU these are dearer than copies of vectors."""
    mean = tuple(torch.stack(blocks) for blocks in zip(*(own.mean for own in vectors), strict=True))
    for some in zip(*(parts(own, side.pull.lanes) for own in held), strict=True):
        phi = tuple(torch.stack(blocks, dim=1) for blocks in zip(*some, strict=True))
        apart = tuple(block.sub_(center) for block, center in zip(phi, mean, strict=True))
        same = ~beyond_noise(apart, mean, classes=1)
        found = _left_out(matching.cotangents_by_class, mean, apart, side.psi, len(vectors[0]))
        yield side.effects(tuple(block.masked_fill_(same.view(*same.shape, *[1] * (block.dim() - 2)), 0.0) for block in found))


def by_class(found: Sequence[Vectors], present: Sequence[int], classes: int) -> Vectors:
    """Vectors `[k_c, ...]` of the classes `present` as blocks `[k, classes, ...]`, zero where there is none."""
    if classes == 1:
        return tuple(block.unsqueeze(1) for block in found[0])
    most = max(len(blocks[0]) for blocks in found)
    result = tuple(block.new_zeros(most, classes, *block.shape[1:]) for block in found[0])
    for c, blocks in zip(present, found, strict=True):
        for target, block in zip(result, blocks, strict=True):
            target[: len(block), c] = block
    return result


def cotangent_differences(matching: Matching, mean: Vectors, phi: Vectors, psi: Vectors, count: int) -> Vectors:
    """q(mean) - q(mean - d_i) for the samples with vectors phi_i, blocks `[k, ...]`; arguments as of `differences_by`."""
    return differences_by(exact_differences, matching, mean, phi, psi, count)


def differences_by(differences: Differences, matching: Matching, mean: Vectors, phi: Vectors, psi: Vectors, count: int) -> Vectors:
    """`differences` of the samples with vectors phi_i, zero for a sample whose vector equals the mean.

    Args:
        differences: Cotangents whose product with J^T are the effects.
        matching: Its cotangent is used.
        mean: The mean vector of the batch, blocks `[...]`.
        phi: Vectors of some samples, blocks `[k, ...]`.
        psi: The synthetic vector, blocks `[...]`.
        count: Samples B of the batch.

    Returns:
        Blocks `[k, ...]`.
    """
    apart = tuple(block - center for block, center in zip(phi, mean, strict=True))
    differs = beyond_noise(apart, mean)
    result = differences(matching, mean, apart, psi, count)
    if differs.device.type != "cpu":  # to look would be to wait
        return tuple(block.masked_fill_(~differs.view(-1, *[1] * (block.dim() - 1)), 0.0) for block in result)
    if not bool(differs.all()):
        for block in result:
            block[~differs] = 0.0
    return result


def exact_differences(matching: Matching, mean: Vectors, apart: Vectors, psi: Vectors, count: int) -> Vectors:
    """q(mean) - q(mean - d_i) with d_i = `apart` / (count - 1), blocks `[k, ...]`; see `Differences`. Overwrites `apart`."""
    return _left_out(matching.cotangent, mean, apart, psi, count)


def _left_out(cotangent: Callable[[Vectors, Vectors], Vectors], mean: Vectors, apart: Vectors, psi: Vectors, count: int) -> Vectors:
    # In place from here on: at hundreds of megabytes, every fresh tensor costs more than the arithmetic on it.
    without = tuple(block.mul_(1.0 / (1 - count)).add_(center) for block, center in zip(apart, mean, strict=True))
    rest = cotangent(without, psi)
    whole = cotangent(mean, psi)
    return tuple(torch.sub(q, q_rest, out=q_rest) for q, q_rest in zip(whole, rest, strict=True))


def beyond_noise(apart: Vectors, mean: Vectors, classes: int = 0) -> Tensor:
    """Whether each sample differs from the mean by more than rounding, bool `[k]`, from differences with leading axis k.

    With `classes` axes of classes behind it, which means begin with, they are those of the result, too.
    """
    lengths = torch.stack([torch.linalg.vector_norm(block.flatten(1 + classes), dim=1 + classes) for block in apart])
    whole = torch.stack([torch.linalg.vector_norm(block.flatten(classes), dim=classes) for block in mean])
    resolution = NOISE * torch.finfo(whole.dtype).eps
    differs: Tensor = torch.linalg.vector_norm(lengths, dim=0) > resolution * torch.linalg.vector_norm(whole, dim=0)
    return differs
