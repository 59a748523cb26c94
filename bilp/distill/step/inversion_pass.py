"""Batches of synthetic images under a teacher: the loss of each, and its gradient with respect to the images as they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bilp.images.view import View
from bilp.matching import Matching, Vectors
from bilp.matching.layer_statistics import moments
from bilp.nets import Network


@dataclass(frozen=True)
class Shown:
    """A batch as the teacher sees it."""

    images: Tensor
    """Stored synthetic images `[n, C, H, W]`."""
    labels: Tensor
    """Their classes, int64 `[n]`."""
    view: View
    """What is done to them before."""
    target: Vectors
    """Mean vector of the statistics that they are given, blocks `[channels]`."""


def packed(sizes: Sequence[int], limit: int) -> Iterator[slice]:
    """Consecutive batches of these sizes that share a pass of at most `limit` images; a larger batch has one alone."""
    start, images = 0, 0
    for place, size in enumerate(sizes):
        if place > start and images + size > limit:
            yield slice(start, place)
            start, images = place, 0
        images += size
    if sizes:
        yield slice(start, len(sizes))


def losses_and_gradients(network: Network, matching: Matching, batches: Sequence[Shown], limit: int) -> tuple[Tensor, list[Tensor]]:
    """Cross-entropy plus distance of statistics of every batch `[K]`, and the gradient of its own loss `[n, C, H, W]`; detached.

    Args:
        network: the teacher, in eval mode, so that no image changes what the layers say of another.
        matching: whose distance is meant.
        batches: K batches that share a pass; more images than `limit` only if there is one.
        limit: images of a pass. A larger batch passes twice, in parts: the second time its statistics are known, and so is how the loss
            changes with them.
    """
    if len(batches) == 1 and len(batches[0].images) > limit:
        loss, gradient = _in_parts(network, matching, batches[0], limit)
        return loss.unsqueeze(0), [gradient]
    stored = [batch.images.detach().requires_grad_() for batch in batches]
    sizes = [len(batch.images) for batch in batches]
    with torch.enable_grad():
        logits, blocks = moments(network, torch.cat([batch.view(own) for batch, own in zip(batches, stored, strict=True)]))
        psi = tuple(torch.stack([part.mean(dim=0) for part in block.split(sizes)]) for block in blocks)
        wrong = functional.cross_entropy(logits, torch.cat([batch.labels for batch in batches]), reduction="none")
        target = tuple(torch.stack(blocks) for blocks in zip(*(batch.target for batch in batches), strict=True))
        losses = torch.stack([part.mean() for part in wrong.split(sizes)]) + matching.distances_by_class(target, psi)
    return losses.detach(), list(torch.autograd.grad(losses.sum(), stored))


def _in_parts(network: Network, matching: Matching, batch: Shown, limit: int) -> tuple[Tensor, Tensor]:
    count, pairs = len(batch.images), list(zip(batch.images.detach().split(limit), batch.labels.split(limit), strict=True))
    sums: list[Tensor] = []
    wrong = torch.zeros((), device=batch.images.device)
    with torch.no_grad():
        for images, labels in pairs:
            logits, blocks = moments(network, batch.view(images))
            wrong = wrong + functional.cross_entropy(logits, labels, reduction="sum") / count
            parts = [block.sum(dim=0) for block in blocks]
            sums = parts if not sums else [total.add_(part) for total, part in zip(sums, parts, strict=True)]
        psi = tuple(total / count for total in sums)
        loss = wrong + matching.distance(batch.target, psi)
        cotangent = matching.cotangent(batch.target, psi)
    gradients = []
    for images, labels in pairs:
        leaf = images.requires_grad_()
        with torch.enable_grad():
            logits, blocks = moments(network, batch.view(leaf))
            part = functional.cross_entropy(logits, labels, reduction="sum")
            part = part + sum((block.sum(dim=0) * q).sum() for block, q in zip(blocks, cotangent, strict=True))
        gradients.append(torch.autograd.grad(part / count, leaf)[0])
    return loss, torch.cat(gradients)
