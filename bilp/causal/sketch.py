"""Norms of the causal effects from their inner products with a few directions, the same for all samples.

For a direction r in the space of the stored images, <ITE_i, r> = <q(mu) - q(mu - d_i), J r>: one product with the
Jacobian serves every sample. The squared norm is a sum over synthetic images, so directions that move one image at a
time have no cross terms between images, and cost the same. Per image they are orthonormal; the first of them span the
exact effects of a few samples, where most of all effects lies, and the rest is measured by random ones and scaled
(as in Hutch++; Meyer, Musco, Musco & Woodruff 2021, with the sampled effects in place of random probes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.causal.cotangent import by_class, cotangent_differences
from bilp.causal.synthetic_images import Synthetic, parts
from bilp.causal.vectors import RealVectors
from bilp.matching import Matching, Vectors
from bilp.seeds import generator

LEAST_PER_IMAGE = 3  # with fewer, 50 images per class fall below a rank correlation of 0.96
SAMPLES_AT_ONCE = 32
LEADING_FROM = 4  # directions of an image from which it pays to take half of them from exact effects


def directions_per_image(directions: int, images: int, size: int, samples: int) -> tuple[int, int]:
    """Directions of one image, leading and random ones, when about `directions` are shared by all images.

    `size` is the number of values of an image, `samples` that of the batch, which bounds the leading ones.
    """
    each = min(max(LEAST_PER_IMAGE, -(-directions // images)), size)
    leading = min(each // 2, samples) if each >= LEADING_FROM else 0
    return leading, each - leading


@dataclass(frozen=True)
class Sketch:
    """Estimated norms, and how far to trust their order."""

    norms: Tensor
    """|ITE_i|, `[B]`: unbiased in the square, exact for 0 and where the directions span an image."""
    agreement: float
    """Expected rank correlation with the exact norms, from how much the random directions agree with each other."""


def sketch(
    matching: Matching, vectors: Sequence[RealVectors], side: Synthetic, directions: int, seed: int, byte_budget: int
) -> list[Sketch]:
    """Norms of the effects of all samples of every class.

    Args:
        matching: Its cotangent is used.
        vectors: Real vectors of each of the K classes.
        side: The synthetic images of the same classes.
        directions: Directions of each class, about, shared by its images.
        seed: What they are drawn from.
        byte_budget: Bounds the products of J with directions that are held at once; those of a single one may need more.
    """
    images = side.movable
    size = side.stored.numel() // (side.classes * images)
    counts = [directions_per_image(directions, images, size, len(own)) for own in vectors]
    chosen, random = [], []
    for own, (leading, rest) in zip(vectors, counts, strict=True):  # whatever is measured together, each class draws what it would alone
        stream = generator(seed, "causal_sketch", images)
        chosen.append(torch.randperm(len(own), generator=stream)[:leading])
        random.append(torch.randn(images, size, rest, generator=stream).to(side.stored))
    spanning = torch.cat(_with_leading(_effects_of(matching, vectors, side, chosen), random))
    basis = torch.linalg.qr(spanning)[0].permute(2, 0, 1)
    squares: list[list[Tensor]] = [[] for _ in vectors]
    for columns in _columns(side, basis, byte_budget):
        for c, own in enumerate(vectors):
            of_class = tuple(block[:, c * images : (c + 1) * images] for block in columns)
            squares[c].append(torch.cat([_squares(matching, own, side.psi_of(c), phi, of_class) for phi in own.chunks()]))
    return [_estimate(torch.cat(found, dim=1), leading, size) for found, (leading, _) in zip(squares, counts, strict=True)]


def _with_leading(effects: Sequence[Tensor], random: Sequence[Tensor]) -> list[Tensor]:
    """Directions of every class `[images, size, k]`: first its `effects` `[leading, M, C, H, W]`, then its random ones."""
    found = []
    for own, drawn in zip(effects, random, strict=True):
        images, size, _ = drawn.shape
        found.append(torch.cat([own.reshape(len(own), images, size).permute(1, 2, 0), drawn], dim=2))
    return found


def _estimate(by_direction: Tensor, leading: int, size: int) -> Sketch:
    """From the squared products with every direction `[B, k]`, summed over images; the first `leading` of them span effects."""
    within = by_direction[:, :leading].sum(dim=1)
    beyond = by_direction[:, leading:] * (size - leading)
    norms = (within + beyond.mean(dim=1)).sqrt()
    spanned = by_direction.shape[1] == size
    return Sketch(norms, 1.0 if spanned else agreement((within.unsqueeze(1) + beyond).cpu()))  # the one wait of a class


def agreement(estimates: Tensor) -> float:
    """Expected rank correlation of the mean of k estimates `[B, k]` of the same B numbers with what they estimate.

    The mean rank correlation r of two of them gives the reliability k r / (1 + (k - 1) r) of their mean
    (Spearman-Brown), and its root is the correlation with the true values. 0 for less than two estimates; 1 if the true
    values are all equal to rounding, where there is no order to miss.
    """
    count = estimates.shape[1]
    if not bool(estimates.any()):
        return 1.0
    if count < 2:
        return 0.0
    ranks = estimates.argsort(dim=0).argsort(dim=0).T.double()
    together = torch.corrcoef(ranks)
    mean = (float(together.sum()) - count) / (count * (count - 1))
    return 0.0 if mean <= 0.0 else promised(mean**0.5, count)


def promised(agreement: float, times: float) -> float:
    """Expected rank correlation of the mean of `times` as many estimates, from that of what there is (Spearman-Brown)."""
    reliability = agreement**2
    return float((times * reliability / (1.0 + (times - 1.0) * reliability)) ** 0.5)


def _effects_of(matching: Matching, vectors: Sequence[RealVectors], side: Synthetic, chosen: Sequence[Tensor]) -> list[Tensor]:
    """Exact effects of the samples `chosen` of every class, `[n, M, C, H, W]` each."""
    present = [c for c, which in enumerate(chosen) if len(which)]
    apart = [cotangent_differences(matching, vectors[c].mean, vectors[c].some(chosen[c]), side.psi_of(c), len(vectors[c])) for c in present]
    if not apart:
        return [side.stored.new_empty(0, *own.shape) for own in side.stored.detach().chunk(side.classes)]
    found = torch.cat([side.effects(part) for part in parts(by_class(apart, present, side.classes), side.pull.lanes)])
    return [found[: len(which), c] for c, which in enumerate(chosen)]


def _columns(side: Synthetic, basis: Tensor, byte_budget: int) -> Iterator[Vectors]:
    """J r of the directions `[k, images, values]` within the budget, and then of the next: blocks `[k, images, ...]`."""
    bytes_each = side.vector_bytes * side.entering_count
    for some in basis.split(max(1, byte_budget // max(bytes_each, 1))):
        yield side.push(some.reshape(-1, *side.stored.shape))


def _squares(matching: Matching, vectors: RealVectors, psi: Vectors, phi: Vectors, columns: Vectors) -> Tensor:
    """Sum over images of the squared products of every sample with every direction, `[b, k]`."""
    found = []
    for part in parts(phi, SAMPLES_AT_ONCE):
        differences = cotangent_differences(matching, vectors.mean, part, psi, len(vectors))
        pairs = zip(differences, columns, strict=True)
        products = torch.stack([c.flatten(1) @ w.flatten(0, 1).flatten(1).T for c, w in pairs]).sum(dim=0)
        found.append(products.view(len(products), *columns[0].shape[:2]).square().sum(dim=2))
    return torch.cat(found)
