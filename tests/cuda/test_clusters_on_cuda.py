"""Clusters of all classes on the pretended device: nothing is asked of it, and they are those of the CPU."""

from __future__ import annotations

import torch
from pretend_cuda import pretend_cuda

from bilp.config.arithmetics import FLOAT32
from bilp.distill.step.kmeans_by_class import around_origin, lloyd_by_class, nearest_members_by_class
from bilp.nets.arithmetic import arithmetic
from bilp.seeds import generator

CLASSES, POINTS, CLUSTERS, STEPS = 3, 40, 6, 5


def test_k_means_of_all_classes_neither_waits_nor_copies() -> None:
    points = torch.randn(CLASSES, POINTS, 4, generator=generator(3, "points"), dtype=torch.float64)
    there = torch.arange(POINTS) < torch.tensor([[40], [25], [6]])

    def found(points: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        points = around_origin(points, there)
        centers, nearest = lloyd_by_class(points, there, points[:, :CLUSTERS], STEPS)
        return nearest_members_by_class(points, there, centers, nearest)

    expected = found(points, there)
    with pretend_cuda() as counts, arithmetic(FLOAT32, "cuda"):
        up = points.to("cuda"), there.to("cuda")
        counts.clear()
        with arithmetic("float32", "cuda"):
            members = found(*up)
        assert not counts.waits
        assert not counts.copies
        assert not counts.unordered
        assert counts.launches <= 35 * STEPS + 45
        assert torch.equal(members.cpu(), expected)
    assert (expected >= 0).all()
