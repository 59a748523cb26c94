"""Effects measured in bfloat16: another number, the same order, or else float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilp.causal import ClassBatch, EffectSettings, ite, measure
from bilp.causal.precision import CHECKED, RANK_AGREEMENT, order_holds, rank_correlation
from bilp.config import NetworkConfig, ReselectConfig
from bilp.errors import ConfigError
from bilp.matching import Matching, matching_for
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SHAPE, CLASSES, LABEL, COUNT = (3, 16, 16), 5, 2, 48
METHODS = pytest.mark.parametrize("matching", [matching_for(name) for name in ("dm", "dc", "idc", "cafe")], ids=lambda m: m.name)


@pytest.fixture(scope="module")
def network() -> Network:
    built = build(NetworkConfig(width=8), SHAPE, CLASSES)
    initialize(built, generator(91, "network"))
    return built


def draw(count: int, *path: str, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Images around a common one; the smaller the spread, the less of them survives rounding."""
    stream = generator(91, *path)
    common = torch.randn(SHAPE, generator=stream)
    return common + spread * torch.randn(count, *SHAPE, generator=stream), torch.full((count,), LABEL)


@METHODS
def test_same_order_by_other_numbers(matching: Matching, network: Network) -> None:
    real, synthetic = draw(COUNT, "real"), draw(2, "synthetic")
    exact = ite(matching, network, ClassBatch(real, synthetic))
    short = ite(matching, network, ClassBatch(real, synthetic), EffectSettings(precision="bfloat16"))
    assert short.dtype is torch.float32
    assert not torch.equal(short, exact)
    assert rank_correlation(short, exact) >= 0.95
    assert float(((short - exact).abs() / exact).median()) < 0.1


@METHODS
def test_where_the_order_would_change_it_is_float32(matching: Matching, network: Network) -> None:
    real, synthetic = draw(COUNT, "alike", spread=1e-4), draw(2, "synthetic")
    exact = ite(matching, network, ClassBatch(real, synthetic))
    assert torch.equal(ite(matching, network, ClassBatch(real, synthetic), EffectSettings(precision="bfloat16")), exact)


@METHODS
def test_few_samples_are_measured_in_float32(matching: Matching, network: Network) -> None:
    real, synthetic = draw(CHECKED, "real"), draw(1, "synthetic")
    exact = ite(matching, network, ClassBatch(real, synthetic))
    assert torch.equal(ite(matching, network, ClassBatch(real, synthetic), EffectSettings(precision="bfloat16")), exact)


@METHODS
@pytest.mark.parametrize("byte_budget", [1, 2**28])
def test_images_are_moved_by_the_exact_mean(matching: Matching, network: Network, byte_budget: int) -> None:
    real, synthetic = draw(COUNT, "real"), draw(1, "synthetic")
    found = measure(matching, network, ClassBatch(real, synthetic), EffectSettings(byte_budget=byte_budget, precision="bfloat16"))
    for kept in (torch.arange(COUNT) % 3 > 0, torch.ones(COUNT, dtype=torch.bool)):
        wanted = matching.real_mean(network, real[0][kept], real[1][kept])
        assert all(torch.equal(a, b) for a, b in zip(found.mean_of(kept), wanted, strict=True))


@METHODS
def test_equal_samples_have_no_effect(matching: Matching, network: Network) -> None:
    images, labels = draw(1, "one")
    real = images.expand(COUNT, -1, -1, -1), labels.expand(COUNT)
    assert torch.equal(
        ite(matching, network, ClassBatch(real, draw(1, "synthetic")), EffectSettings(precision="bfloat16")), torch.zeros(COUNT)
    )


def test_sketch_and_taylor_take_part(network: Network) -> None:
    real, synthetic = draw(COUNT, "real"), draw(6, "synthetic")
    matching = matching_for("dc")
    for estimator in ("sketch", "taylor"):
        exact = ite(matching, network, ClassBatch(real, synthetic), EffectSettings(estimator))
        short = ite(matching, network, ClassBatch(real, synthetic), EffectSettings(estimator, precision="bfloat16"))
        assert not torch.equal(short, exact)
        assert rank_correlation(short, exact) >= 0.95


def test_order_is_judged_by_spearmans_coefficient(caplog: pytest.LogCaptureFixture) -> None:
    exact = torch.arange(10.0)
    swapped = exact[[1, 0, 2, 3, 4, 5, 6, 7, 8, 9]]
    assert rank_correlation(exact, swapped) == pytest.approx(1 - 6 * 2 / (10 * 99))
    assert rank_correlation(exact, -exact) == pytest.approx(-1.0)
    assert rank_correlation(torch.ones(4), torch.zeros(4)) == 1.0
    assert rank_correlation(torch.ones(10), exact) == 0.0
    assert order_holds(exact, swapped)
    far = torch.cat([exact[5:], exact[:5]])
    assert rank_correlation(exact, far) < RANK_AGREEMENT
    assert not order_holds(exact, far)


def test_the_definition_is_float32_alone(network: Network) -> None:
    with pytest.raises(ConfigError, match="oracle is the definition"):
        ite(matching_for("dm"), network, ClassBatch(draw(4, "real"), draw(1, "synthetic")), EffectSettings("oracle", precision="bfloat16"))
    with pytest.raises(ConfigError, match="unknown precision"):
        ite(matching_for("dm"), network, ClassBatch(draw(4, "real"), draw(1, "synthetic")), EffectSettings(precision="half"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="oracle is the definition"):
        ReselectConfig(estimator="oracle", precision="bfloat16")
