"""Soft weights: against the formula written out, and what the effective size promises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bilp.config import ReselectConfig
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.weights import effective_share, penalties, soft_weights, temperature_for
from bilp.seeds import generator


def _scores(count: int = 200) -> Tensor:
    return torch.randn(count, generator=generator(9, "scores"), dtype=torch.float64).exp()


def _pruner(count: int, **settings: object) -> AdaptivePruner:
    return AdaptivePruner(torch.zeros(count, dtype=torch.int64), 1, ReselectConfig.model_validate({"mode": "weight", **settings}))


@pytest.mark.parametrize(("low_share", "cut"), [(0.0, lambda z: max(z, 0.0)), (0.5, abs), (1.0, lambda z: max(-z, 0.0))])
def test_weights_are_those_of_the_formula(low_share: float, cut) -> None:  # type: ignore[no-untyped-def]
    scores, pruner = _scores(), _pruner(200, beta=0.2, low_share=low_share, temperature=0.7)
    keep = pruner.decide(torch.arange(200), scores, 0, 5)
    assert keep.all() and torch.equal(pruner.candidates(torch.arange(200), 1), torch.arange(200)), "nothing is dropped"
    logs = [math.log(value) for value in scores.tolist()]
    mean = sum(logs) / 200
    deviation = math.sqrt(sum((value - mean) ** 2 for value in logs) / 200)
    raw = [math.exp(-cut((value - mean) / deviation) / 0.7) for value in logs]
    found = pruner.weights(torch.arange(200))
    assert found is not None
    torch.testing.assert_close(found.double(), torch.tensor(raw, dtype=torch.float64) / (sum(raw) / 200), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("low_share", [0.0, 0.5])
@pytest.mark.parametrize("beta", [0.05, 0.3])
def test_without_a_temperature_the_effective_size_is_that_of_dropping_beta(beta: float, low_share: float) -> None:
    pruner = _pruner(200, beta=beta, low_share=low_share)
    pruner.decide(torch.arange(200), _scores(), 0, 5)
    weights = pruner.weights(torch.arange(200))
    assert weights is not None
    assert float(weights.sum() ** 2 / (weights**2).sum() / 200) == pytest.approx(1 - beta, abs=1e-3)


def test_the_effective_size_grows_with_the_temperature() -> None:
    penalty = penalties(_scores().log(), 0.5)
    sizes = [effective_share(soft_weights(penalty, temperature)) for temperature in (0.05, 0.2, 1.0, 5.0, 500.0)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == pytest.approx(1.0, abs=1e-4)
    assert effective_share(soft_weights(penalty, temperature_for(penalty, 0.6))) == pytest.approx(0.6, abs=1e-3)


def test_equal_scores_and_samples_that_were_never_measured_count_one() -> None:
    pruner = _pruner(6, beta=0.3)
    pruner.decide(torch.arange(4), torch.full((4,), 2.0), 0, 5)
    assert pruner.weights(torch.arange(6)).tolist() == [1.0] * 6  # type: ignore[union-attr]


def test_a_zero_effect_has_the_lowest_rank_and_a_finite_weight() -> None:
    scores = torch.cat([torch.zeros(1, dtype=torch.float64), _scores(40)])
    for low_share, lowest in ((0.0, False), (0.5, True)):
        pruner = _pruner(41, beta=0.3, low_share=low_share)
        pruner.decide(torch.arange(41), scores, 0, 5)
        weights = pruner.weights(torch.arange(41))
        assert weights is not None and weights.isfinite().all()
        assert (int(weights.argmin()) == 0) is lowest


def test_the_state_restores_the_weights() -> None:
    pruner, other = _pruner(200, beta=0.3), _pruner(200, beta=0.3)
    pruner.decide(torch.arange(200), _scores(), 0, 5)
    other.load(pruner.state())
    assert torch.equal(other.weights(torch.arange(200)), pruner.weights(torch.arange(200)))  # type: ignore[arg-type]
    assert _pruner(200, mode="refill").weights(torch.arange(3)) is None


def test_a_score_with_a_sign_loses_its_low_end_alone() -> None:
    scores = torch.randn(100, generator=generator(9, "signed"), dtype=torch.float64)
    pruner = AdaptivePruner(torch.zeros(100, dtype=torch.int64), 1, ReselectConfig(score="signed", beta=0.2, low_share=0.5))
    keep = pruner.decide(torch.arange(100), scores, 0, 5)
    assert torch.equal(keep, scores.argsort().argsort() >= 20)
    again = AdaptivePruner(torch.zeros(100, dtype=torch.int64), 1, ReselectConfig(score="signed", beta=0.2, minimum_per_class=90))
    again.load(pruner.state())
    left = again.candidates(torch.arange(100), 1)
    assert len(left) == 90 and set(left.tolist()) == set((scores.argsort().argsort() >= 10).nonzero().flatten().tolist())
