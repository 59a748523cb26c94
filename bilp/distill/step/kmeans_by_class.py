"""K-means of several classes at once, which asks the device nothing: what `kmeans` finds class by class, with as many steps as allowed.

Classes hold different numbers of points, so they are padded, `[C, n, F]`, and `there` `[C, n]` says which points are real. A class that
has settled stays as it is while the others go on, so that it ends where it would end alone.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from bilp.distill.step.kmeans import EQUAL


def around_origin(points: Tensor, there: Tensor) -> Tensor:
    """Points `[C, n, F]` less the mean of their class, where squared distances cancel least; zero where none is there."""
    real = there.unsqueeze(2).to(points.dtype)
    shift = (points * real).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True)
    return (points - shift) * real


def lloyd_by_class(points: Tensor, there: Tensor, centers: Tensor, most_steps: int) -> tuple[Tensor, Tensor]:
    """Centers `[C, K, F]` and the cluster of each point, int64 `[C, n]`, from given `centers`; see `kmeans.lloyd`.

    `points` are those of `around_origin`, at least K in every class. Those that are not there are in a cluster K, which does not exist.
    """
    absent, clusters = ~there, centers.shape[1]
    numbers = torch.arange(clusters, device=points.device).view(1, -1, 1)
    lengths = points.square().sum(dim=2, keepdim=True)
    settled = torch.zeros(len(points), 1, 1, dtype=torch.bool, device=points.device)

    def assigned(centers: Tensor) -> tuple[Tensor, Tensor]:
        apart, nearest = _distances(points, lengths, centers).min(dim=2)
        return apart.masked_fill(absent, -torch.inf), nearest.masked_fill(absent, clusters)

    apart, nearest = assigned(centers)
    for _ in range(most_steps):
        filled = _without_empty(nearest, apart, numbers)
        member = (filled.unsqueeze(1) == numbers).to(points.dtype)
        sizes = member.sum(dim=2, keepdim=True)
        moved = torch.where(sizes > 0, member @ points / sizes.clamp(min=1.0), centers)
        centers = torch.where(settled, centers, moved)
        apart, nearest = assigned(centers)
        settled = settled | (filled == nearest).all(dim=1).view(-1, 1, 1)
    return centers, nearest


def _without_empty(nearest: Tensor, apart: Tensor, numbers: Tensor) -> Tensor:
    """Clusters `[C, n]`, where those without a point get the points that are farthest from their centers (see `kmeans`).

    Every shape is fixed: the empty clusters stand first in a list of all, and a point finds its own by its rank.
    """
    empty = ~(nearest.unsqueeze(1) == numbers).any(dim=2)
    candidates = empty.byte().argsort(dim=1, descending=True, stable=True)
    rank = apart.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    taken = candidates.gather(1, rank.clamp(max=numbers.numel() - 1))
    return torch.where(rank < empty.sum(dim=1, keepdim=True), taken, nearest)


def nearest_members_by_class(
    points: Tensor, there: Tensor, centers: Tensor, nearest: Tensor, among: Literal["own", "all"] = "own"
) -> Tensor:
    """For every cluster the position of the member nearest to its center, int64 `[C, K]`, -1 where it has no points.

    Args:
        points: `[C, n, F]`, as `around_origin` gives them.
        there: which of them are real, bool `[C, n]`.
        centers: `[C, K, F]`.
        nearest: the cluster of each point, int64 `[C, n]`.
        among: as `kmeans.nearest_members`.
    """
    own = nearest.unsqueeze(1) == torch.arange(centers.shape[1], device=points.device).view(1, -1, 1)
    allowed = own if among == "own" else there.unsqueeze(1).expand_as(own)
    lengths = points.square().sum(dim=2, keepdim=True)
    apart = _distances(points, lengths, centers).transpose(1, 2).masked_fill(~allowed, torch.inf)
    closest = apart.amin(dim=2, keepdim=True)
    equal = allowed & (apart <= closest + EQUAL * closest.abs())
    places = torch.arange(points.shape[1], device=points.device)
    first = torch.where(equal, places, points.shape[1]).amin(dim=2)
    return torch.where(own.any(dim=2), first, -1)


def _distances(points: Tensor, lengths: Tensor, centers: Tensor) -> Tensor:
    """Squared distances `[C, n, K]` within each class, from the points' squared `lengths` `[C, n, 1]`."""
    of_centers = centers.square().sum(dim=2).unsqueeze(1)
    return lengths + torch.baddbmm(of_centers, points, centers.transpose(1, 2), alpha=-2.0)
