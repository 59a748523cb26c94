"""Clusters and their representatives: k-means against scikit-learn's, members against a plain search."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.cluster import KMeans
from tiny_distillation import assemble, small_config
from torch import Tensor

from bilp.config import NetworkConfig, ReselectConfig
from bilp.config.methods.idc import DreamConfig
from bilp.data.pool import RealPool
from bilp.distill.step import representatives
from bilp.distill.step.kmeans import distances, kmeans, lloyd, nearest_members
from bilp.distill.step.representatives import Representatives, cluster_members
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

Few = Callable[[int], RealPool]


def points(count: int, shift: float = 0.0) -> Tensor:
    stream = generator(61, count)
    centers = 4.0 * torch.randn(5, 7, generator=stream)
    return centers[torch.randint(5, (count,), generator=stream)] + torch.randn(count, 7, generator=stream) + shift


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_from_the_same_centers_the_library_finds_the_same_clusters(shift: float) -> None:
    data = points(80, shift)
    first = data[torch.randperm(80, generator=generator(62))[:9]]
    centers, nearest = lloyd(data, first, 100)
    library = KMeans(9, init=first.numpy(), n_init=1, max_iter=100, tol=0.0).fit(data.numpy())
    # Clusters that lost their points are refilled, so that numbers may be exchanged; who is together with whom is not.
    theirs = torch.from_numpy(library.labels_)
    assert torch.equal(nearest[:, None] == nearest, theirs[:, None] == theirs)
    assert float((data - centers[nearest]).square().sum()) == pytest.approx(library.inertia_, rel=1e-4)


def test_squared_distances() -> None:
    data, centers = points(20, 50.0), points(6, 50.0)
    torch.testing.assert_close(distances(data, centers), torch.cdist(data, centers).square(), rtol=1e-3, atol=1e-2)


def test_members_are_the_nearest_of_their_own_cluster() -> None:
    data = points(60)
    centers, nearest = kmeans(data, 8, generator(63), 3)
    found = nearest_members(data, centers, nearest)
    for cluster, member in zip(range(8), found.tolist(), strict=True):
        own = [i for i in range(60) if int(nearest[i]) == cluster]
        apart = {i: float((data[i] - centers[cluster]).norm()) for i in own}
        assert member == min(i for i in own if apart[i] <= min(apart.values()) * 1.0001)


def test_among_all_points_a_neighbors_may_be_the_nearest_and_one_may_stand_for_two() -> None:
    """DREAM's program (new_strategy.py:28) looks for the nearest sample of the class, whichever its cluster is."""
    line, centers = torch.tensor([[0.0], [1.0], [4.0], [9.0]]), torch.tensor([[1.0], [1.5], [9.0]])
    belongs = torch.tensor([0, 0, 1, 2])
    assert nearest_members(line, centers, belongs).tolist() == [1, 2, 3]
    assert nearest_members(line, centers, belongs, "all").tolist() == [1, 1, 3]
    data = points(200)
    centers, belongs = kmeans(data, 40, generator(67), 3)
    apart = torch.cdist(centers, data)
    found = nearest_members(data, centers, belongs, "all")
    assert torch.allclose(apart[torch.arange(40), found], apart.amin(dim=1), rtol=1e-3)


def test_pixels_are_clustered_on_demand(few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, seen = few(12), []
    setting = assemble(small_config("dream", network=NetworkConfig(width=8)), pool)
    setting.draw_network("network", 0)
    embed = setting.network.embed
    monkeypatch.setattr(setting.network, "embed", lambda images: (seen.append(images), embed(images))[1])
    ids = pool.by_class[3]
    for clustered, images in (("normalized", pool.images(ids)), ("pixels", pool.dataset.train.images(ids).float() / 255)):
        seen.clear()
        cluster_members(setting.network, pool, ids, 5, generator(68), DreamConfig(clustered=clustered))
        torch.testing.assert_close(torch.cat(seen), images)


def test_of_a_pair_the_first_one_represents_whatever_the_rounding() -> None:
    for k in range(50):
        pair = torch.randn(2, 64, generator=generator(66, k))
        centers, nearest = lloyd(pair, pair.mean(dim=0, keepdim=True), 3)
        assert nearest_members(pair, centers, nearest).tolist() == [0]


def test_equal_points_leave_clusters_empty_and_there_are_never_more_clusters_than_points() -> None:
    same = torch.ones(6, 3)
    centers, nearest = kmeans(same, 4, generator(64), 5)
    assert len(nearest_members(same, centers, nearest)) == 1
    assert len(kmeans(points(3), 8, generator(64), 5)[0]) == 3


def test_one_step_at_most_when_asked_for_one() -> None:
    data = points(80)
    first = data[:9]
    centers, _ = lloyd(data, first, 1)
    own = distances(data, first).argmin(dim=1)
    torch.testing.assert_close(centers, torch.stack([data[own == k].mean(dim=0) for k in range(9)]))


def test_a_class_is_represented_by_different_members_of_its_own(few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = few(20)
    setting = assemble(small_config("dm", network=NetworkConfig(width=8)), pool)
    setting.draw_network("network", 0)
    for bound in (20, 11):  # the whole class, and a random part of it
        monkeypatch.setattr(representatives, "MOST_CLUSTERED", bound)
        found = cluster_members(setting.network, pool, pool.by_class[4], 6, generator(65), DreamConfig())
        assert len(found) == len(found.unique()) == 6
        assert torch.isin(found, pool.by_class[4]).all()
        assert torch.equal(found, cluster_members(setting.network, pool, pool.by_class[4], 6, generator(65), DreamConfig()))
    few_ids = pool.by_class[4][:6]
    assert torch.equal(cluster_members(setting.network, pool, few_ids, 6, generator(65), DreamConfig()), few_ids)


def test_what_adaptive_pruning_drops_is_no_representative(few: Few) -> None:
    config, pool = small_config("dream", network=NetworkConfig(width=8), batch_real=6), few(15)
    setting = assemble(config, pool)
    setting.draw_network("network", 0)
    pruner = AdaptivePruner(pool.dataset.train.labels, 10, ReselectConfig(beta=0.4, threshold="quantile"))
    chooser = Representatives(setting)
    chooser.choose(pruner, 0, 0)
    before = chooser.batches(pruner, 0, 0)
    assert [len(batch.ids) for batch in before] == [6] * 10
    assert {batch.withheld for batch in before} == {0.0}
    for c, ids in enumerate(pool.by_class):
        pruner.decide(ids, torch.linspace(1.0, 2.0, 15), c, until=5)
    gone = torch.cat([ids[~torch.isin(ids, pruner.candidates(ids, 1))] for ids in pool.by_class])
    assert len(gone) == 60
    assert not any(torch.isin(batch.ids, gone).any() for batch in chooser.batches(pruner, 1, 0))
    chooser.choose(pruner, 1, 1)
    after = chooser.batches(pruner, 1, 1)
    assert not any(torch.isin(batch.ids, gone).any() for batch in after)
    assert [len(batch.ids) for batch in after] == [6] * 10
    assert all(batch.withheld == pytest.approx(0.4) for batch in after)
