"""Rules and criteria of others: the graph of D2, RDC's mixture without a question, Moderate's distances, each against a restatement."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from bilp.config import PruneConfig
from bilp.errors import ConfigError, DataError
from bilp.pruning.prune import chosen_by
from bilp.pruning.rules.graph import difficulty
from bilp.scoring.neighbor_graph import difficult_and_spread, nearest_neighbors
from bilp.scoring.picking import class_center


def plain_graph(points: np.ndarray, neighbors: int) -> dict[int, dict[int, float]]:
    """Distances of neighbors, pair by pair."""
    distance = {(i, j): math.dist(points[i], points[j]) for i in range(len(points)) for j in range(len(points)) if i != j}
    near = {i: sorted((distance[i, j], j) for j in range(len(points)) if j != i)[:neighbors] for i in range(len(points))}
    edges = {(i, j) for i, found in near.items() for _, j in found}
    return {i: {j: distance[i, j] for j in range(len(points)) if (i, j) in edges or (j, i) in edges} for i in range(len(points))}


def plain_picks(points: np.ndarray, scores: np.ndarray, count: int, neighbors: int, gamma: float) -> list[int]:
    """D2 as it is written down, with a dictionary of priorities."""
    graph = plain_graph(points, neighbors)
    priority = {i: scores[i] + sum(math.exp(-d) * scores[j] for j, d in graph[i].items()) for i in graph}
    picked: list[int] = []
    for _ in range(count):
        node = max((i for i in graph if i not in picked), key=lambda i: (priority[i], -i))
        for j, d in graph[node].items():
            priority[j] -= math.exp(-gamma * d) * priority[node]
        picked.append(node)
    return picked


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 25), st.integers(1, 6), st.sampled_from([0.0, 0.1, 1.0]), st.integers(0, 1000))
def test_messages_on_the_graph_are_those_of_a_plain_restatement(count: int, neighbors: int, gamma: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, scores = rng.normal(size=(count, 3)), rng.exponential(size=count)
    graph = nearest_neighbors(torch.tensor(points), neighbors)
    plain = plain_graph(points, neighbors)
    for node in range(count):
        edges = graph.of(node)
        assert graph.ends[edges].tolist() == sorted(plain[node])
        assert graph.distances[edges] == pytest.approx([plain[node][j] for j in sorted(plain[node])])
    picked = difficult_and_spread(graph, scores, count, gamma).tolist()
    assert picked == plain_picks(points, scores, count, neighbors, gamma) and sorted(picked) == list(range(count))


def test_copies_and_equal_scores_are_decided_by_the_index() -> None:
    graph = nearest_neighbors(torch.tensor([[1000.1, 0.3]] * 4), 2)
    assert graph.distances.tolist() == [0.0] * len(graph.ends) and graph.ends[graph.of(3)].tolist() == [0, 1]
    assert difficult_and_spread(nearest_neighbors(torch.eye(3), 2), np.ones(3), 3, 0.1).tolist() == [0, 1, 2]
    alone = nearest_neighbors(torch.ones(1, 2), 5)
    assert len(alone.ends) == 0 and difficult_and_spread(alone, np.zeros(1), 1, 0.1).tolist() == [0]


def test_what_cannot_be_picked_is_refused() -> None:
    with pytest.raises(DataError, match="features must be finite"):
        nearest_neighbors(torch.tensor([[math.nan], [0.0]]), 1)
    with pytest.raises(ConfigError, match="4 samples cannot be picked out of 3"):
        difficult_and_spread(nearest_neighbors(torch.eye(3), 1), np.ones(3), 4, 0.1)
    with pytest.raises(ConfigError, match="rule graph needs features of a scoring's network, and criterion random has no scoring"):
        chosen_by(PruneConfig(rule="graph", criterion="random"), np.ones(4), np.zeros(4, dtype=np.int64), ["a"])


@pytest.mark.parametrize(("criterion", "drop"), [("loss_init", "high"), ("aum", "low")])
def test_the_graph_drops_the_hardest_and_stays_within_classes(criterion: str, drop: str) -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(61, 4)), np.minimum(np.arange(61) % 3, 2)
    scores = rng.normal(size=61).round(1)  # ties, and negative ones
    scores[labels == 2] = 1.5
    config = PruneConfig(criterion=criterion, rule="graph", keep=0.4, hardest=0.25, neighbors=3)
    cut, _ = chosen_by(config, scores, labels, list("abc"), lambda members: torch.tensor(features[members]))
    assert cut.kept_per_class.tolist() == [n - math.floor(0.6 * n + 0.5) for n in np.bincount(labels)]
    for label in range(3):
        members = np.flatnonzero(labels == label)
        ranking = sorted(members, key=lambda i: (scores[i], i))
        hardest = math.floor(0.25 * len(members) + 0.5)
        rest = sorted(ranking[: len(members) - hardest] if drop == "high" else ranking[hardest:])
        own = scores[rest] - min(scores[rest].min(), 0) if drop == "high" else scores[rest].max() - scores[rest]
        picked = plain_picks(features[rest], own, int(cut.kept_per_class[label]), 3, 0.1)
        assert sorted(rest[i] for i in picked) == np.flatnonzero(cut.kept & (labels == label)).tolist()


def test_tiny_classes_keep_what_is_left_of_them() -> None:
    config = PruneConfig(rule="graph", keep=0.5, hardest=0.5, minimum_per_class=1)
    cut, _ = chosen_by(config, np.array([1.0, 2.0, 3.0, 0.5, 9.0]), np.array([0, 0, 0, 1, 1]), ["a", "b"], lambda m: torch.eye(5)[m])
    assert cut.kept.tolist() == [True, False, False, True, False]  # of three, two are hard and one stays


def test_difficulty_is_never_negative() -> None:
    assert difficulty(np.array([0.5, 2.0]), "high").tolist() == [0.5, 2.0]
    assert difficulty(np.array([-1.0, 2.0]), "high").tolist() == [0.0, 3.0]
    assert difficulty(np.array([-1.0, 2.0]), "low").tolist() == [3.0, 0.0]


def wrong_and_right(rng: np.random.Generator, right: int, wrong: int) -> np.ndarray:
    return np.exp(np.concatenate([rng.normal(-3, 0.8, right), rng.normal(0.8, 0.4, wrong)]))


@pytest.mark.parametrize("per_class", [True, False])
def test_the_low_component_is_that_of_another_mixture(per_class: bool) -> None:
    rng = np.random.default_rng(3)
    losses = np.concatenate([wrong_and_right(rng, 400, 200), wrong_and_right(rng, 300, 100)])
    labels = np.repeat([0, 1], [600, 400])
    config = PruneConfig(rule="low_component", keep="auto", per_class=per_class)
    cut, found = chosen_by(config, losses, labels, ["a", "b"])
    expected = np.empty(1000, dtype=bool)
    for group in [labels == 0, labels == 1] if per_class else [labels >= 0]:
        values = np.log(losses[group]).reshape(-1, 1)
        other = GaussianMixture(2, random_state=42, tol=1e-8, max_iter=500).fit(values)
        expected[group] = other.predict_proba(values)[:, int(np.argmin(other.means_))] > 0.5
    assert (cut.kept != expected).sum() <= 2  # at the border
    assert found is not None and found.means.shape == (2, 2) and found.separation > 2
    assert per_class == bool((found.means[:, 0] != found.means[:, 1]).any())


def test_the_low_component_asks_nothing_and_auto_does() -> None:
    """Clean losses of one skewed population: a mixture halves them, and `auto` keeps them."""
    rng = np.random.default_rng(0)
    losses, labels = rng.exponential(0.05, 500), np.zeros(500, dtype=np.int64)
    taken, _ = chosen_by(PruneConfig(rule="low_component", keep="auto"), losses, labels, ["a"])
    assert 0 < taken.kept.mean() < 0.95
    assert chosen_by(PruneConfig(keep="auto"), losses, labels, ["a"])[0].kept.all()


def test_equal_losses_stay_and_margins_are_turned() -> None:
    config = PruneConfig(rule="low_component", keep="auto", minimum_per_class=1)
    cut, _ = chosen_by(config, np.array([0.3] * 4 + [0.1]), np.array([0, 0, 0, 0, 1]), ["a", "b"])
    assert cut.kept.all()
    rng = np.random.default_rng(1)
    margins = np.concatenate([rng.normal(5, 1, 80), rng.normal(-4, 1, 40)])
    config = PruneConfig(criterion="aum", rule="low_component", keep="auto")
    cut, _ = chosen_by(config, margins, np.zeros(120, dtype=np.int64), ["a"])
    assert cut.kept.tolist() == [True] * 80 + [False] * 40


def test_the_center_of_a_class_is_the_median_of_each_feature() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 6):
        features = rng.normal(size=(count, 3))
        np.testing.assert_allclose(class_center(torch.tensor(features)).numpy(), np.median(features, axis=0))
