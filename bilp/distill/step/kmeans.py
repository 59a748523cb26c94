"""Clusters of points (Lloyd's algorithm), the same on every run: sums are matrix products, which have a fixed order.

The library's own k-means adds the threads' partial sums in the order in which they finish, and lives on the CPU; DREAM
clusters the features of every class over and over, where they lie.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

# Squared distances that differ by less, relatively, differ by rounding.
EQUAL = 1e-3


def kmeans(points: Tensor, clusters: int, stream: torch.Generator, most_steps: int) -> tuple[Tensor, Tensor]:
    """Centers `[K, F]` and the cluster of each point `[n]` for points `[n, F]`, with K = min(`clusters`, n).

    The first centers are different points drawn at random. It ends when no point changes its cluster, or after
    `most_steps` steps. A cluster that loses all of its points starts again at the point farthest from its center.
    """
    first = torch.randperm(len(points), generator=stream)[:clusters].to(points.device)
    return lloyd(points, points[first], most_steps)


def lloyd(points: Tensor, centers: Tensor, most_steps: int) -> tuple[Tensor, Tensor]:
    """The same from given `centers` `[K, F]`."""
    apart, nearest = distances(points, centers).min(dim=1)
    for _ in range(most_steps):
        nearest = _without_empty(nearest, apart, len(centers))
        member = torch.zeros(len(centers), len(points), dtype=points.dtype, device=points.device)
        member[nearest, torch.arange(len(points), device=points.device)] = 1.0
        sizes = member.sum(dim=1, keepdim=True)
        centers = torch.where(sizes > 0, member @ points / sizes.clamp(min=1.0), centers)
        before = nearest
        apart, nearest = distances(points, centers).min(dim=1)
        if torch.equal(before, nearest):
            break
    return centers, nearest


def _without_empty(nearest: Tensor, apart: Tensor, clusters: int) -> Tensor:
    """Clusters `[n]`, where those without a point get the points that are farthest from their centers, as in scikit-learn."""
    empty = (torch.bincount(nearest, minlength=clusters) == 0).nonzero().flatten()
    if len(empty) == 0:
        return nearest
    farthest = apart.argsort(descending=True, stable=True)[: len(empty)]
    nearest = nearest.clone()
    nearest[farthest] = empty
    return nearest


def nearest_members(points: Tensor, centers: Tensor, nearest: Tensor, among: Literal["own", "all"] = "own") -> Tensor:
    """For every cluster that has points the one nearest to its center: positions, int64 `[<= K]`, in the clusters' order.

    Of points that are equally near the first one counts, such as the two of a cluster of two, whose center lies between. Among
    all points a neighbor's may be the nearest, and one may stand for several clusters.
    """
    own = nearest.unsqueeze(0) == torch.arange(len(centers), device=points.device).unsqueeze(1)
    allowed = own if among == "own" else torch.ones_like(own)
    apart = distances(points, centers).T.masked_fill(~allowed, torch.inf)
    closest = apart.amin(dim=1, keepdim=True)
    equal = allowed & (apart <= closest + EQUAL * closest.abs())
    places = torch.arange(len(points), device=points.device)
    first = torch.where(equal, places, len(points)).amin(dim=1)
    return first[own.any(dim=1)]


def distances(points: Tensor, centers: Tensor) -> Tensor:
    """Squared distances `[n, K]`, up to rounding of the largest of them."""
    shift = points.mean(dim=0)  # the formula cancels less around the origin
    points, centers = points - shift, centers - shift
    return points.square().sum(dim=1, keepdim=True) - 2.0 * points @ centers.T + centers.square().sum(dim=1)
