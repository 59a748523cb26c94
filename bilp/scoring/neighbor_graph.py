"""Message passing on a graph of nearest neighbors: picking samples that are difficult and far from each other (D2, Maharana et al. 2024).

Every sample has a priority, D_i = s_i + sum over its neighbors j of exp(-d_ij) s_j, for difficulties s and Euclidean distances d of
features. The sample with the largest one is picked, its neighbors lose exp(-gamma d_ij) D_i, and so on. i and j are neighbors if either
is among the nearest of the other (`GraphDensitySampler` of the authors' program, modes `sum` and `weighted`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilp.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ROWS = 1024
"""Rows of distances that are computed at once."""
COPIES = 1e-12
"""Squared distances below this part of the squared norms count as zero, which is what the rounding of a product leaves of it."""


@dataclass(frozen=True)
class Graph:
    """Edges in both directions: those of node i are rows starts[i] to starts[i + 1] of `ends` and `distances` `[E]`."""

    starts: Integers
    ends: Integers
    distances: Floats

    def of(self, node: int) -> slice:
        """Its edges."""
        return slice(int(self.starts[node]), int(self.starts[node + 1]))


def nearest_neighbors(features: Tensor, neighbors: int) -> Graph:
    """The symmetric graph of so many nearest neighbors (all, if there are fewer) of features `[n, F]`.

    Of equally distant ones the lower index is the nearer. Raises DataError for features that are not finite.
    """
    if not features.isfinite().all():
        raise DataError("features must be finite: the network that computed them has diverged")
    points = features.detach().double().cpu()
    count, wanted = len(points), min(neighbors, len(points) - 1)
    pairs: dict[tuple[int, int], float] = {}
    for start in range(0, count, ROWS):
        for offset, row in enumerate(_distances(points, start)):
            node = start + offset
            row[node] = np.inf
            for other in _smallest(row, wanted):
                pairs[node, int(other)] = pairs[int(other), node] = float(row[other])
    ordered = sorted(pairs)
    degrees = np.bincount(np.array([node for node, _ in ordered], dtype=np.int64), minlength=count)
    starts = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64)
    ends = np.array([other for _, other in ordered], dtype=np.int64)
    return Graph(starts, ends, np.array([pairs[edge] for edge in ordered], dtype=np.float64))


def difficult_and_spread(graph: Graph, difficulty: Floats, count: int, gamma: float) -> Integers:
    """Order `[count]` in which nodes of `difficulty` `[n]`, which are not negative, are picked. Of equal priorities the lowest index wins.

    Raises ConfigError if count exceeds n.
    """
    if not 0 <= count <= len(difficulty):
        raise ConfigError(f"{count} samples cannot be picked out of {len(difficulty)}")
    messages = np.exp(-graph.distances) * difficulty[graph.ends]
    senders = np.repeat(np.arange(len(difficulty)), np.diff(graph.starts))
    priority = difficulty + np.bincount(senders, messages, minlength=len(difficulty))
    lost = np.exp(-gamma * graph.distances)
    order = np.empty(count, dtype=np.int64)
    for turn in range(count):
        node = int(np.argmax(priority))
        edges = graph.of(node)
        priority[graph.ends[edges]] -= lost[edges] * priority[node]  # what was picked stays at minus infinity
        priority[node] = -np.inf
        order[turn] = node
    return order


def _distances(points: Tensor, start: int) -> Floats:
    """Euclidean distances `[ROWS, n]` of some points to all of `[n, F]`."""
    norms = points.square().sum(dim=1)
    sums = norms[start : start + ROWS, None] + norms
    squares = sums - 2.0 * points[start : start + ROWS] @ points.T
    return np.asarray(torch.where(squares > COPIES * sums, squares, 0.0).sqrt().numpy())


def _smallest(row: Floats, wanted: int) -> Integers:
    """Indices of the `wanted` smallest values, the lower index first among equal ones at the border."""
    if wanted == 0:
        return np.empty(0, dtype=np.int64)
    border = np.partition(row, wanted - 1)[wanted - 1]
    below = np.flatnonzero(row < border)
    return np.concatenate([below, np.flatnonzero(row == border)[: wanted - len(below)]])
