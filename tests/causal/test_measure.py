"""Measuring a batch once: its effects, and the mean vector of what is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bilp.causal import ClassBatch, EffectSettings, Estimator, ite, measure
from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.matching import FeatureMatching, GradientMatching, Matching
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SHAPE, CLASSES, LABEL, COUNT = (3, 16, 16), 5, 2, 41
BOTH = pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])


def network() -> Network:
    built = build(NetworkConfig(width=8), SHAPE, CLASSES)
    initialize(built, generator(61, "network"))
    return built


def draw(count: int, *path: str) -> tuple[Tensor, Tensor]:
    return torch.randn(count, *SHAPE, generator=generator(61, *path)), torch.full((count,), LABEL)


def passes(net: nn.Module) -> list[int]:
    """Batch sizes that went through the network's body from now on."""
    seen: list[int] = []
    net.body.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    return seen


@BOTH
@pytest.mark.parametrize(
    ("estimator", "byte_budget"),
    [
        ("auto", 1),
        ("auto", 2**28),
        ("oracle", 1),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("oracle", 2**28), ("auto", 100_000), ("oracle", 100_000))),
    ],
)
def test_mean_of_the_kept_is_the_real_mean(matching: Matching, byte_budget: int, estimator: Estimator) -> None:
    net, real, synthetic = network(), draw(COUNT, "real"), draw(2, "synthetic")
    found = measure(matching, net, ClassBatch(real, synthetic), EffectSettings(estimator, byte_budget=byte_budget))
    torch.testing.assert_close(found.norms, ite(matching, net, ClassBatch(real, synthetic), EffectSettings(estimator)), rtol=1e-4, atol=0.0)
    everyone = torch.ones(COUNT, dtype=torch.bool)
    only_one = torch.arange(COUNT) == 33
    random = torch.rand(COUNT, generator=generator(61, "mask")) < 0.5
    for mask in (random, only_one, everyone, random):  # the last again: nothing was changed in place
        wanted = matching.real_mean(net, real[0][mask], real[1][mask])
        for a, b in zip(found.mean_of(mask), wanted, strict=True):
            assert not a.requires_grad
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


@BOTH
@pytest.mark.parametrize("byte_budget", [1, 2**28])
def test_a_weighted_mean_is_that_of_a_pass_of_its_own(matching: Matching, byte_budget: int) -> None:
    net, real, synthetic = network(), draw(COUNT, "real"), draw(2, "synthetic")
    found = measure(matching, net, ClassBatch(real, synthetic), EffectSettings(byte_budget=byte_budget))
    weights = torch.rand(COUNT, generator=generator(61, "weights"))
    for a, b in zip(found.weighted_mean(weights), matching.weighted_mean(net, *real, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
    equal, mean = found.weighted_mean(torch.ones(COUNT)), found.mean_of(torch.ones(COUNT, dtype=torch.bool))
    assert all(torch.equal(a, b) for a, b in zip(equal, mean, strict=True))


@BOTH
def test_no_second_pass_within_the_budget(matching: Matching) -> None:
    net = network()
    real, synthetic = draw(COUNT, "real"), draw(1, "synthetic")
    mask = torch.arange(COUNT) % 3 > 0
    for byte_budget, wanted in ((2**28, 0), (1, int(mask.sum()))):
        found = measure(matching, net, ClassBatch(real, synthetic), EffectSettings(byte_budget=byte_budget))
        seen = passes(net)
        found.mean_of(mask)
        assert sum(seen) == wanted
    whole = passes(net)
    measure(matching, net, ClassBatch(real, synthetic))
    assert sum(whole[-2:]) == COUNT  # every real sample once, after the synthetic ones


@BOTH
def test_masks_that_choose_nothing_are_refused(matching: Matching) -> None:
    found = measure(matching, network(), ClassBatch(draw(5, "real"), draw(1, "synthetic")))
    with pytest.raises(ConfigError, match="keep at least one"):
        found.mean_of(torch.zeros(5, dtype=torch.bool))
    with pytest.raises(ConfigError, match="a bool per sample"):
        found.mean_of(torch.ones(5))
    with pytest.raises(ConfigError, match="among 5 samples"):
        found.mean_of(torch.ones(4, dtype=torch.bool))
