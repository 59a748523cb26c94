"""The adaptive pruner: what it drops, for how long, how exactly it keeps to beta, and that its state is all there is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from bilp.config import ReselectConfig
from bilp.errors import ConfigError, Diverged, IncompatibleArtifact
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator


def pruner(count: int = 40, classes: int = 1, **settings: object) -> AdaptivePruner:
    """`count` samples per class, class by class."""
    return AdaptivePruner(torch.arange(classes).repeat_interleave(count), classes, ReselectConfig.model_validate(settings))


def lognormal(count: int, *path: str | int, spread: float = 0.3) -> Tensor:
    return (spread * torch.randn(count, generator=generator(71, *path), dtype=torch.float64)).exp()


def gamma(count: int, *path: str | int, shape: int = 2) -> Tensor:
    """Sum of exponential variables."""
    uniform = torch.rand(shape, count, generator=generator(71, *path), dtype=torch.float64)
    return -uniform.clamp_min(1e-12).log().sum(dim=0)


def exponential_tail(count: int, *path: str | int) -> Tensor:
    """Strongly skewed even on the logarithm: most samples alike, some very much larger."""
    return torch.exp(gamma(count, *path, shape=1).square())


# What is dropped.


def test_normal_thresholds_are_those_of_the_log_scores() -> None:
    scores = lognormal(2000, "normal")
    p = pruner(2000, beta=0.3, low_share=1 / 3)
    keep = p.decide(torch.arange(2000), scores, 0, 10)
    logs = scores.log()
    below, above = (torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(p)) for p in (0.1, 0.8))
    centered = (logs - logs.mean()) / logs.std(correction=0)
    assert torch.equal(keep, (centered >= below) & (centered <= above))
    assert 0.28 < p.dropped_share() < 0.32
    assert p.quantile_classes.tolist() == []


def test_running_statistics() -> None:
    p = pruner(80, beta=0.1, momentum=0.75)
    batches = [lognormal(40, "first"), 2.0 * lognormal(40, "second")]
    for k, scores in enumerate(batches):
        p.decide(torch.arange(40) + 40 * k, scores, 0, 10)
    first, second = (scores.log() for scores in batches)
    mean = 0.75 * first.mean() + 0.25 * second.mean()
    variance = 0.75 * first.var(correction=0) + 0.25 * (second - mean).square().mean()
    torch.testing.assert_close(p.state()["log_mean"][0], mean)
    torch.testing.assert_close(p.state()["log_variance"][0], variance)


@pytest.mark.parametrize(("low_share", "lowest", "highest"), [(0.5, 10, 10), (1.0, 20, 0), (0.0, 0, 20), (0.25, 5, 15)])
def test_quantile_thresholds_drop_exact_counts_by_rank(low_share: float, lowest: int, highest: int) -> None:
    scores = lognormal(100, "ranks")
    keep = pruner(100, beta=0.2, low_share=low_share, threshold="quantile").decide(torch.arange(100), scores, 0, 1)
    rank = scores.argsort().argsort()
    assert torch.equal(keep, (rank >= lowest) & (rank < 100 - highest))


def test_ties_fall_in_order() -> None:
    scores = torch.tensor([3.0, 1.0, 1.0, 1.0, 3.0, 2.0, 2.0, 2.0, 3.0, 2.0])
    keep = pruner(10, beta=0.4, threshold="quantile").decide(torch.arange(10), scores, 0, 1)
    assert (~keep).nonzero().flatten().tolist() == [1, 2, 4, 8]


def test_fractions_of_a_sample_are_carried_over() -> None:
    p = pruner(14, beta=0.1, threshold="quantile")
    dropped = [int((~p.decide(torch.arange(14), lognormal(14, "carry", k), 0, 1)).sum()) for k in range(10)]
    assert set(dropped) == {1, 2}
    assert sum(dropped) == 14


def test_ends_alternate_when_one_sample_is_dropped() -> None:
    p = pruner(10, beta=0.1, threshold="quantile")
    ends = []
    for k in range(6):
        scores = lognormal(10, "ends", k)
        keep = p.decide(torch.arange(10), scores, 0, 1)
        ends.append(bool(scores[~keep] == scores.min()))
    assert ends == [True, False] * 3


@pytest.mark.parametrize("threshold", ["normal", "quantile"])
def test_zero_scores_are_the_smallest(threshold: str) -> None:
    scores = lognormal(40, "zeros")
    scores[[7, 31]] = 0.0
    p = pruner(40, beta=0.1, threshold=threshold)
    keep = p.decide(torch.arange(40), scores, 0, 10)
    assert not keep[7]
    assert not keep[31]
    assert all(value.isfinite().all() for name, value in p.state().items() if name.startswith("log_"))
    upper = pruner(40, beta=0.1, low_share=0.0, threshold=threshold).decide(torch.arange(40), scores, 0, 10)
    assert upper[7]
    assert upper[31]


@pytest.mark.parametrize("threshold", ["normal", "quantile"])
@pytest.mark.parametrize("scores", [torch.full((40,), 0.7), torch.zeros(40), torch.full((40,), 0.7) * (1 + 1e-7 * torch.arange(40))])
def test_equal_scores_keep_all(threshold: str, scores: Tensor) -> None:
    p = pruner(40, beta=0.5, threshold=threshold)
    p.decide(torch.arange(40), lognormal(40, "before"), 0, 1)
    for _ in range(3):
        assert p.decide(torch.arange(40), scores, 0, 10).all()
    assert len(p.candidates(torch.arange(40), 5)) == 40


@pytest.mark.parametrize("threshold", ["normal", "quantile"])
def test_beta_zero_keeps_all(threshold: str) -> None:
    p = pruner(40, beta=0.0, threshold=threshold)
    assert p.decide(torch.arange(40), exponential_tail(40, "wild"), 0, 10).all()
    assert p.dropped_share() == 0.0


def test_scale_of_the_scores_does_not_matter() -> None:
    for threshold in ("normal", "quantile"):
        masks = [
            pruner(40, beta=0.2, threshold=threshold).decide(torch.arange(40), s * lognormal(40, "s"), 0, 1) for s in (1e-12, 1.0, 1e9)
        ]
        assert torch.equal(masks[0], masks[1])
        assert torch.equal(masks[1], masks[2])


# Floors.


@pytest.mark.parametrize("threshold", ["normal", "quantile"])
@pytest.mark.parametrize(("minimum", "kept"), [(1, 2), (5, 5), (100, 20)])
def test_a_batch_keeps_its_floor_closest_to_the_center(threshold: str, minimum: int, kept: int) -> None:
    scores = lognormal(20, "floor")
    p = pruner(20, beta=0.999, threshold=threshold, minimum_per_class=minimum)
    keep = p.decide(torch.arange(20), scores, 0, 10)
    assert int(keep.sum()) == kept
    ranks = scores.argsort().argsort()[keep]
    if threshold == "quantile":  # as many below as above, up to one
        assert abs(int(ranks.min()) - (19 - int(ranks.max()))) <= 1


def test_two_samples_are_never_dropped() -> None:
    assert pruner(2, beta=0.9).decide(torch.arange(2), torch.tensor([1.0, 100.0]), 0, 10).all()


def test_floor_of_normal_thresholds_is_by_distance_from_the_mean() -> None:
    """Nearly all of a batch lies outside what the class has shown so far."""
    p = pruner(200, beta=0.5, minimum_per_class=6)
    p.decide(torch.arange(100), lognormal(100, "usual", spread=0.01), 0, 1)
    scores = 50.0 * lognormal(12, "unusual")
    assert int(p.decide(torch.arange(100, 112), scores, 0, 1).sum()) >= 6


def test_candidates_come_back_to_the_minimum_least_extreme_first() -> None:
    p = pruner(10, beta=0.6, threshold="quantile", minimum_per_class=2)
    scores = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0])
    keep = p.decide(torch.arange(10), scores, 0, 100)
    assert keep.nonzero().flatten().tolist() == [3, 4, 5, 6]
    assert p.candidates(torch.arange(10), 50).tolist() == [3, 4, 5, 6]
    assert p.candidates(torch.tensor([9, 3, 0, 7]), 50).tolist() == [3, 7]  # 7 is closer to the mean of 4.5 than 0 and 9
    assert p.candidates(torch.tensor([9, 8, 1, 0]), 50).tolist() == [8, 1]
    assert p.candidates(torch.tensor([9]), 50).tolist() == [9]
    assert p.candidates(torch.tensor([], dtype=torch.int64), 50).tolist() == []


def test_the_minimum_is_per_class() -> None:
    p = AdaptivePruner(torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1]), 2, ReselectConfig(beta=0.6, threshold="quantile", minimum_per_class=2))
    p.decide(torch.arange(6), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 0, 100)
    gone = [i for i in range(6) if i not in p.candidates(torch.arange(6), 0).tolist()]
    assert len(gone) == 4
    found = p.candidates(torch.tensor([8, *gone, 6, 7]), 0)
    assert len(found) == 5
    assert [i for i in found.tolist() if i >= 6] == [8, 6, 7]


def test_candidates_of_many_classes_are_those_of_each() -> None:
    labels = torch.arange(120) % 12
    p = AdaptivePruner(labels, 12, ReselectConfig(beta=0.7, threshold="quantile", minimum_per_class=3))
    for c in range(0, 12, 2):
        ids = (labels == c).nonzero().flatten()
        p.decide(ids, lognormal(10, "many", c), c, 100 if c % 4 else 5)
    parts = [(labels == c).nonzero().flatten()[torch.randperm(10, generator=generator(1, "part", c))][: (c * 5) % 11] for c in range(12)]
    for iteration in (0, 50, 100):
        together = p.candidates_of_each(parts, iteration)
        alone = [p.candidates(part, iteration) for part in parts]
        assert [part.tolist() for part in together] == [part.tolist() for part in alone]
    assert sum(map(len, p.candidates_of_each(parts, 50))) < sum(map(len, parts))


# How long it is dropped.


def test_a_decision_stands_until_its_iteration_and_can_be_replaced() -> None:
    p = pruner(20, beta=0.2, threshold="quantile")
    ids = torch.arange(20)
    keep = p.decide(ids, torch.arange(1.0, 21.0), 0, until=30)
    dropped = ids[~keep].tolist()
    assert dropped == [0, 1, 18, 19]
    assert not set(dropped) & set(p.candidates(ids, 29).tolist())
    assert len(p.candidates(ids, 30)) == 20
    p.decide(torch.tensor([0, 5, 6, 7, 8]), torch.tensor([3.0, 1.0, 2.0, 4.0, 5.0]), 0, until=40)  # 0 is in the middle now
    assert 0 in p.candidates(ids, 29).tolist()
    assert 18 not in p.candidates(ids, 29).tolist()


def test_bookkeeping_per_sample() -> None:
    p = pruner(5, classes=2, beta=0.4, threshold="quantile", minimum_per_class=1)
    p.decide(torch.tensor([9, 5, 7]), torch.tensor([1.0, 2.0, 3.0]), 1, until=8)
    p.decide(torch.tensor([5, 6]), torch.tensor([4.0, 4.0]), 1, until=9)
    state = p.state()
    assert state["visits"].tolist() == [0, 0, 0, 0, 0, 2, 1, 1, 0, 1]
    assert state["last_score"][5:8].tolist() == [4.0, 4.0, 3.0]
    assert state["last_score"][:5].isnan().all()
    assert state["dropped_until"].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 8]
    assert state["initialised"].tolist() == [False, True]
    assert p.dropped_share() == pytest.approx(1 / 5)


# How well it keeps to beta.


@pytest.mark.parametrize("beta", [pytest.param(0.05, marks=pytest.mark.slow), 0.1, 0.3])
@pytest.mark.parametrize("low_share", [0.0, 0.5, pytest.param(0.8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("law", [lognormal, gamma, exponential_tail])
def test_dropped_share_tracks_beta_while_the_scale_drifts(beta: float, low_share: float, law: Callable[..., Tensor]) -> None:
    """Ten classes of different scale; over 30 decisions the scale falls to a hundredth, with jumps between networks."""
    classes, size = 10, 128
    p = pruner(size, classes=classes, beta=beta, low_share=low_share)
    for t in range(30):
        for c in range(classes):
            jump = float(torch.randn(1, generator=generator(72, t)))
            scale = math.exp(c - 4.6 * t / 30 + 0.3 * jump)
            p.decide(torch.arange(size) + c * size, scale * law(size, law.__name__, t, c), c, t + 1)
        assert abs(p.dropped_share() - beta) <= 0.02
    per_class = p.state()["dropped"] / p.state()["decided"]
    assert float((per_class - beta).abs().max()) <= 0.02


def test_fitting_scores_stay_with_the_normal_thresholds() -> None:
    p = pruner(512, classes=4, beta=0.1)
    for t in range(20):
        for c in range(4):
            p.decide(torch.arange(512) + 512 * c, math.exp(c) * lognormal(512, "fits", t, c), c, t + 1)
    assert p.quantile_classes.tolist() == []
    assert p.dropped_share() == pytest.approx(0.1, abs=0.01)


def test_an_unlucky_batch_is_cut_by_rank_but_not_held_against_the_class() -> None:
    """Four samples beyond the thresholds instead of the wanted two: chance may do that to twenty."""
    p = pruner(20, beta=0.1)
    scores = torch.exp(torch.tensor([-9.0, -8.9, 8.9, 9.0] + [0.1 * k for k in range(-8, 8)], dtype=torch.float64))
    keep = p.decide(torch.arange(20), scores, 0, 1)
    assert (~keep).nonzero().flatten().tolist() == [0, 3]
    assert p.quantile_classes.tolist() == []
    assert p.state()["normal"].tolist() == [[20, 4]]


def test_a_class_whose_scores_do_not_fit_changes_to_quantiles_alone() -> None:
    p = pruner(512, classes=3, beta=0.3)
    for t in range(10):
        for c, law in enumerate((lognormal, exponential_tail, lognormal)):
            p.decide(torch.arange(512) + 512 * c, law(512, "mixed", t, c), c, t + 1)
    assert p.quantile_classes.tolist() == [1]
    share = p.state()["dropped"] / p.state()["decided"]
    assert float((share - 0.3).abs().max()) <= 0.02
    restored = pruner(512, classes=3, beta=0.3)
    restored.load(p.state())
    assert restored.quantile_classes.tolist() == [1]


def test_quantile_setting_uses_quantiles_everywhere_from_the_start() -> None:
    assert pruner(4, classes=3, threshold="quantile").quantile_classes.tolist() == [0, 1, 2]


# State.


def test_state_survives_storage_and_is_all_there_is() -> None:
    settings = {"beta": 0.15, "low_share": 0.4}
    first, twin = pruner(64, classes=3, **settings), pruner(64, classes=3, **settings)
    for t in range(12):
        for c in range(3):
            law = (lognormal, gamma, exponential_tail)[c]
            ids = torch.randperm(64, generator=generator(73, t, c))[:30] + 64 * c
            scores = law(30, "state", t, c)
            assert torch.equal(first.decide(ids, scores, c, t + 4), twin.decide(ids, scores, c, t + 4))
        everyone = torch.arange(192)
        assert torch.equal(first.candidates(everyone, t), twin.candidates(everyone, t))
        stored = load(save(twin.state()))
        twin = pruner(64, classes=3, **settings)
        twin.load(stored)
        for name, value in first.state().items():
            assert torch.equal(value.nan_to_num(-1.0), stored[name].nan_to_num(-1.0)), name
    assert first.dropped_share() == twin.dropped_share() > 0.0


def test_state_is_a_copy_both_ways() -> None:
    p = pruner(20, beta=0.2)
    given = p.state()
    p.decide(torch.arange(20), lognormal(20, "copy"), 0, 5)
    assert given["visits"].sum() == 0
    other = pruner(20, beta=0.2)
    other.load(given)
    other.decide(torch.arange(20), lognormal(20, "copy"), 0, 5)
    assert given["visits"].sum() == 0


def test_the_memory_of_some_classes_is_theirs_alone_and_parts_come_together() -> None:
    whole, left, right = (pruner(20, classes=3, beta=0.2) for _ in range(3))
    for c, own in ((0, left), (1, left), (2, right)):
        ids, scores = torch.arange(20 * c, 20 * c + 20), lognormal(20, "part", c)
        whole.decide(ids, scores, c, 5)
        own.decide(ids, scores, c, 5)
    parts = {range(2): left.state(range(2)), range(2, 3): right.state(range(2, 3))}
    assert [[len(state[name]) for name in ("visits", "decided")] for state in parts.values()] == [[40, 2], [20, 1]]
    joined = pruner(20, classes=3, beta=0.2)
    for classes, state in parts.items():
        joined.load(state, classes)
    assert all(torch.equal(value.nan_to_num(-1.0), joined.state()[name].nan_to_num(-1.0)) for name, value in whole.state().items())
    with pytest.raises(IncompatibleArtifact, match=r"visits: expected torch.int32 \[20\], found torch.int32 \[40\]"):
        joined.load(parts[range(2)], range(2, 3))


def test_foreign_state_is_refused_with_every_difference() -> None:
    p = pruner(20, classes=2)
    state = pruner(21, classes=2).state()
    state["extra"] = state.pop("remainder")
    with pytest.raises(IncompatibleArtifact) as caught:
        p.load(state)
    for part in ("remainder is missing", "extra is unknown", "visits: expected torch.int32 [40], found torch.int32 [42]"):
        assert part in str(caught.value)


# Refusals.


def test_bad_scores_are_refused_before_anything_changes() -> None:
    p = pruner(5, classes=2)
    before = p.state()
    for bad in (math.nan, math.inf):
        with pytest.raises(Diverged, match="1 of 3 causal effects of class 0"):
            p.decide(torch.arange(3), torch.tensor([1.0, bad, 2.0]), 0, 5)
    with pytest.raises(ConfigError, match="negative"):
        p.decide(torch.arange(3), torch.tensor([1.0, -1.0, 2.0]), 0, 5)
    with pytest.raises(ConfigError, match="sample 5 is not of class 0 but 1"):
        p.decide(torch.tensor([1, 5]), torch.tensor([1.0, 1.0]), 0, 5)
    with pytest.raises(ConfigError, match="as many scores"):
        p.decide(torch.arange(3), torch.ones(2), 0, 5)
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        AdaptivePruner(torch.tensor([0, 2]), 2, ReselectConfig())
    assert all(torch.equal(value.nan_to_num(-1.0), before[name].nan_to_num(-1.0)) for name, value in p.state().items())


def test_an_empty_batch_is_an_empty_decision() -> None:
    p = pruner(5)
    assert p.decide(torch.arange(0), torch.zeros(0), 0, 5).tolist() == []
    assert p.dropped_share() == 0.0
