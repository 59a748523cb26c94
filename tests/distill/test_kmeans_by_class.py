"""K-means of several classes at once against one class after the other, in float64 so that no point is assigned by rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from tiny_distillation import assemble, small_config
from torch import Tensor

from bilp.config import NetworkConfig
from bilp.config.methods.idc import DreamConfig
from bilp.data.pool import RealPool
from bilp.distill.step import representatives
from bilp.distill.step.kmeans import lloyd, nearest_members
from bilp.distill.step.kmeans_by_class import around_origin, lloyd_by_class, nearest_members_by_class
from bilp.distill.step.representatives import cluster_members, cluster_members_by_class
from bilp.seeds import generator

Few = Callable[[int], RealPool]
CLUSTERS = 6


def class_of_points(count: int) -> Tensor:
    """Points `[n, 5]` far from the origin, in three blobs."""
    stream = generator(71, count)
    places = 4.0 * torch.randn(3, 5, generator=stream, dtype=torch.float64)
    return 50.0 + places[torch.randint(3, (count,), generator=stream)] + torch.randn(count, 5, generator=stream, dtype=torch.float64)


def beginning(points: Tensor) -> Tensor:
    """The first points as centers, but two of them so far away that their clusters are empty."""
    away = torch.zeros(CLUSTERS, dtype=points.dtype).index_fill(0, torch.tensor([1, 4]), 1e3)
    return points[..., :CLUSTERS, :] + away.unsqueeze(1)


def padded(classes: list[Tensor]) -> tuple[Tensor, Tensor]:
    points = torch.nn.utils.rnn.pad_sequence(classes, batch_first=True, padding_value=7.0)
    return points, torch.arange(points.shape[1]) < torch.tensor([[len(own)] for own in classes])


@pytest.mark.parametrize("most_steps", [0, 1, 2, 30])
@pytest.mark.parametrize("among", ["own", "all"])
def test_every_class_ends_where_it_would_end_alone(most_steps: int, among: Literal["own", "all"]) -> None:
    classes = [class_of_points(count) for count in (40, CLUSTERS, 90, 33)]
    points, there = padded(classes)
    points = around_origin(points, there)
    centers, nearest = lloyd_by_class(points, there, beginning(points), most_steps)
    found = nearest_members_by_class(points, there, centers, nearest, among)
    for place, own in enumerate(classes):
        alone, belongs = lloyd(own, beginning(own), most_steps)
        torch.testing.assert_close(centers[place] + own.mean(dim=0), alone)
        assert torch.equal(nearest[place, : len(own)], belongs)
        assert found[place][found[place] >= 0].tolist() == nearest_members(own, alone, belongs, among).tolist()
    assert bool((nearest[there] < CLUSTERS).all()) and bool((nearest[~there] == CLUSTERS).all())


def test_clusters_were_empty_and_classes_settle_at_different_times() -> None:
    """What the test above would not notice otherwise."""
    first, second = class_of_points(CLUSTERS), class_of_points(90)
    assert lloyd(second, beginning(second), 0)[1].unique().tolist() == [0, 2, 3, 5]
    ends = [[lloyd(own, beginning(own), most)[1].tolist() for most in (3, 30)] for own in (first, second)]
    assert [early == late for early, late in ends] == [True, False]


def test_a_class_that_settled_with_an_empty_cluster_is_left_alone() -> None:
    """The empty cluster 2 takes the only point of cluster 1; nothing changes then, so that k-means ends, though 1 is empty now."""
    line = torch.tensor([[-1.1], [0.0], [1.0], [100.0]], dtype=torch.float64)
    first = torch.tensor([[0.0], [90.0], [1000.0]], dtype=torch.float64)
    alone, belongs = lloyd(line, first, 5)
    assert belongs.tolist() == [0, 0, 0, 2]
    there = torch.ones(1, 4, dtype=torch.bool)
    centers, nearest = lloyd_by_class(around_origin(line.unsqueeze(0), there), there, (first - line.mean()).unsqueeze(0), 5)
    assert torch.equal(nearest[0], belongs)
    torch.testing.assert_close(centers[0] + line.mean(), alone)


@pytest.mark.parametrize(
    ("dream", "bounds"),
    [
        ({}, {}),
        ({"clustered": "pixels", "nearest": "all"}, {"GROUP_SAMPLES": 40, "HELD_IMAGES": 7}),
        ({"most_steps": 2}, {"MOST_CLUSTERED": 11}),
    ],
)
def test_representatives_of_all_classes_are_those_of_each(
    few: Few, monkeypatch: pytest.MonkeyPatch, dream: dict[str, Any], bounds: dict[str, int]
) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(representatives, name, value)
    pool = few(20)
    setting = assemble(small_config("dream", network=NetworkConfig(width=8, depth=1)), pool)
    setting.draw_network("network", 0)
    network, settings = setting.network.double(), DreamConfig.model_validate(dream)
    monkeypatch.setattr(pool, "images", lambda ids, device="cpu": RealPool.images(pool, ids, device).double())
    offered = [ids[: (20, 13, 3, 17)[c % 4]] for c, ids in enumerate(pool.by_class)]
    streams = [[generator(72, c) for c in range(len(offered))] for _ in range(2)]
    expected = [cluster_members(network, pool, ids, 5, own, settings) for ids, own in zip(offered, streams[0], strict=True)]
    found = cluster_members_by_class(network, pool, offered, 5, streams[1], settings)
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]
    assert {len(ids) for ids in found} >= {3, 5}
