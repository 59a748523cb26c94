"""The estimators taylor and sketch, and what auto makes of them, against the definition."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from bilp.causal import ClassBatch, EffectSettings, Estimator, effects, ite, measure
from bilp.causal.choose import prefers_sketch
from bilp.causal.cotangent import cotangent_differences, differences_by
from bilp.causal.effect_settings import DIRECTIONS
from bilp.causal.precision import RANK_AGREEMENT
from bilp.causal.reference.taylor import first_order_differences
from bilp.causal.sketch import Sketch, agreement, directions_per_image, promised, sketch
from bilp.causal.synthetic_images import Synthetic
from bilp.causal.vectors import RealVectors
from bilp.config import NetworkConfig, ReselectConfig
from bilp.config.estimators import ESTIMATORS
from bilp.errors import ConfigError
from bilp.images import augment
from bilp.matching import FeatureMatching, GradientMatching, Matching, Vectors, matching_for
from bilp.matching.alignment import AlignmentMatching
from bilp.matching.kernels import KernelMatching
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

pytestmark = pytest.mark.slow

SHAPE, CLASSES, LABEL = (3, 16, 16), 5, 2
DM, DC = FeatureMatching(), GradientMatching("dc")


class AbsoluteMatching(GradientMatching):
    """Gradients under an l1 distance, with nothing but what every matching has."""

    pushforward = Matching.pushforward
    directional = Matching.directional

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return torch.stack([(b - a).abs().sum() for a, b in zip(mu, psi, strict=True)]).sum()

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        return tuple(torch.sign(b - a) for a, b in zip(mu, psi, strict=True))


class PlainMatching(GradientMatching):
    """The row-wise cosine with the generic parts."""

    pushforward = Matching.pushforward
    directional = Matching.directional


class SquaredMatching(AbsoluteMatching):
    """Gradients under a squared distance."""

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return torch.stack([(b - a).square().sum() for a, b in zip(mu, psi, strict=True)]).sum()

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        return tuple(2.0 * (b - a) for a, b in zip(mu, psi, strict=True))


L1, MSE, PLAIN = AbsoluteMatching("l1"), SquaredMatching("mse"), PlainMatching("plain")
ALL = pytest.mark.parametrize("matching", [DM, DC, PLAIN, MSE, L1], ids=["dm", "dc", "plain", "mse", "l1"])
CURVED = pytest.mark.parametrize("matching", [DM, DC, PLAIN, MSE], ids=["dm", "dc", "plain", "mse"])
FAMILIES = {
    "convnet": NetworkConfig(width=8),
    "swish_max": NetworkConfig(width=8, norm="group", pooling="max", activation="swish"),
    "mlp": NetworkConfig(name="mlp"),
    "lenet": NetworkConfig(name="lenet"),
    "batch_norm": NetworkConfig(width=8, norm="batch"),
}


def network(config: NetworkConfig = FAMILIES["convnet"], dtype: torch.dtype = torch.float32) -> Network:
    built = build(config, SHAPE, CLASSES)
    initialize(built, generator(71, "network"))
    return built.to(dtype)


def draw(count: int, *path: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    stream = generator(71, *path)
    common = torch.randn(SHAPE, generator=stream)
    return (common + torch.randn(count, *SHAPE, generator=stream)).to(dtype), torch.full((count,), LABEL)


@ALL
@pytest.mark.parametrize("family", FAMILIES)
def test_every_estimator_on_every_network(matching: Matching, family: str) -> None:
    net = network(FAMILIES[family])
    real, synthetic = draw(8, "real", family), draw(1, "synthetic", family)
    matching.freeze_statistics(net, draw(8, "statistics")[0])
    exact = ite(matching, net, ClassBatch(real, synthetic), EffectSettings("oracle"))
    torch.testing.assert_close(
        ite(matching, net, ClassBatch(real, synthetic), EffectSettings("cotangent")), exact, rtol=2e-3, atol=1e-5 * float(exact.max())
    )
    found = ite(matching, net, ClassBatch(real, synthetic), EffectSettings("sketch", directions=64))
    assert float(((found - exact).abs() / exact).mean()) < 0.25
    if matching is not L1:
        first = ite(matching, net, ClassBatch(real, synthetic), EffectSettings("taylor"))
        tolerance = 0.5 if isinstance(matching, GradientMatching) and matching is not MSE else 2e-3
        torch.testing.assert_close(first, exact, rtol=tolerance, atol=1e-5 * float(exact.max()))


LAYERWISE = {
    "idm": matching_for("idm"),
    "idc_mse": KernelMatching("idc", "mse"),
    "idc_l1": KernelMatching("idc", "l1"),
    "cafe": AlignmentMatching(),
}


@pytest.mark.parametrize("name", LAYERWISE)
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "mlp"])  # which has no kernels
def test_every_estimator_of_the_other_methods(name: str, family: str) -> None:
    matching, net = LAYERWISE[name], network(FAMILIES[family])
    real, synthetic = draw(7, "real", name, family), draw(2, "synthetic", name, family)
    matching.freeze_statistics(net, draw(8, "statistics")[0])
    exact = ite(matching, net, ClassBatch(real, synthetic), EffectSettings("oracle"))
    assert bool((exact > 0).all())
    torch.testing.assert_close(ite(matching, net, ClassBatch(real, synthetic)), exact, rtol=2e-3, atol=1e-5 * float(exact.max()))
    found = ite(matching, net, ClassBatch(real, synthetic), EffectSettings("sketch", directions=64))
    assert float(((found - exact).abs() / exact).mean()) < 0.25
    if name == "idc_l1":
        with pytest.raises(ConfigError, match="taylor"):
            ite(matching, net, ClassBatch(real, synthetic), EffectSettings("taylor"))
    else:  # squared distances are linear in the mean
        first = ite(matching, net, ClassBatch(real, synthetic), EffectSettings("taylor"))
        torch.testing.assert_close(first, exact, rtol=2e-3, atol=1e-5 * float(exact.max()))


@pytest.mark.parametrize("matching", [DM, DC, L1], ids=["dm", "dc", "l1"])
def test_sketch_with_a_whole_basis_is_exact(matching: Matching) -> None:
    net = build(NetworkConfig(width=4, depth=1), (1, 4, 4), 3)
    initialize(net, generator(72, "tiny"))
    stream = generator(72, "images")
    real, synthetic = torch.randn(9, 1, 4, 4, generator=stream), torch.randn(2, 1, 4, 4, generator=stream)
    targets = torch.ones(9, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    exact = ite(matching, net, ClassBatch((real, targets[0]), (synthetic, targets[1])), EffectSettings("oracle"))
    for byte_budget in (2**28, 1):
        found = ite(
            matching,
            net,
            ClassBatch((real, targets[0]), (synthetic, targets[1])),
            EffectSettings("sketch", directions=32, byte_budget=byte_budget),
        )
        torch.testing.assert_close(found, exact, rtol=2e-3, atol=1e-5 * float(exact.max()))


@pytest.mark.parametrize("matching", [DM, DC], ids=["dm", "dc"])
def test_sketch_is_unbiased_in_the_square(matching: Matching) -> None:
    net, real, synthetic = network(), draw(6, "real"), draw(3, "synthetic")
    exact = ite(matching, net, ClassBatch(real, synthetic), EffectSettings("oracle")).square()
    drawn = [
        ite(matching, net, ClassBatch(real, synthetic), EffectSettings("sketch", directions=9, seed=seed)).square() for seed in range(30)
    ]
    ratio = torch.stack(drawn).mean(dim=0) / exact
    assert float((ratio - 1.0).abs().max()) < 0.5
    assert float((ratio.mean() - 1.0).abs()) < 0.15
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], ite(matching, net, ClassBatch(real, synthetic), EffectSettings("sketch", directions=9, seed=0)).square())


@pytest.mark.parametrize("family", ["color", "crop", "cutout", "flip", "scale", "rotate"])
def test_sketch_differentiates_through_the_augmentation(family: str) -> None:
    net = network()
    apply = partial(augment.apply, params=augment.draw((family,), SHAPE[1:], generator(73, family)))
    pairs = draw(5, "real"), draw(3, "synthetic")
    side = Synthetic(DC, net, [ClassBatch(*pairs, apply)], 2**28)
    assert side.owners is not None
    assert torch.equal(side.owners, torch.arange(3))
    direction = torch.randn(1, 3, *SHAPE, generator=generator(73, "direction"))
    pushed = side.push(direction)
    for phi in RealVectors(DC, net, pairs[0], affordable=5).chunks():
        products = torch.stack([torch.einsum("brc,kmrc->bm", c, w) for c, w in zip(phi, pushed, strict=True)]).sum(dim=0)
        effects_of = torch.cat([side.effects(tuple(c[i : i + 1, None] for c in phi))[:, 0] for i in range(5)])
        torch.testing.assert_close(products, (effects_of * direction).flatten(2).sum(dim=2), rtol=1e-3, atol=1e-5)


def test_which_stored_image_an_entering_one_depends_on() -> None:
    pair = draw(5, "synthetic")

    def owners(apply: Callable[[Tensor], Tensor]) -> Tensor | None:
        return Synthetic(DM, network(), [ClassBatch(draw(3, "real"), pair, apply)], 2**28).owners

    assert owners(lambda x: x.flip(0)).tolist() == [4, 3, 2, 1, 0]
    assert owners(lambda x: torch.cat([x, 2.0 * x])).tolist() == [0, 1, 2, 3, 4] * 2
    assert owners(lambda x: x.repeat_interleave(2, dim=0)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert owners(lambda x: x + x.mean(dim=0, keepdim=True)) is None


def test_mixed_images_are_moved_together() -> None:
    net, real, synthetic = network(), draw(8, "real"), draw(4, "synthetic")

    def mix(images: Tensor) -> Tensor:
        return 0.5 * (images + images.roll(1, dims=0))

    exact = ite(DC, net, ClassBatch(real, synthetic, mix), EffectSettings("oracle"))
    found = ite(DC, net, ClassBatch(real, synthetic, mix), EffectSettings("sketch", directions=256))
    assert float(((found - exact).abs() / exact).mean()) < 0.2


@CURVED
def test_taylor_is_the_derivative_of_the_exact_form(matching: Matching) -> None:
    """The directional derivative against a difference quotient, in float64."""
    net, real = network(dtype=torch.float64), draw(6, "real", dtype=torch.float64)
    phi = matching.real(net, *real)
    mu = tuple(block.mean(dim=0) for block in phi)
    psi = matching.real_mean(net, *draw(2, "synthetic", dtype=torch.float64))
    along = tuple(block - center for block, center in zip(phi, mu, strict=True))
    found, generic = matching.directional(mu, psi, along), Matching.directional(matching, mu, psi, along)
    step = 1e-5
    ahead, behind = (matching.cotangent(tuple(m + s * step * d for m, d in zip(mu, along, strict=True)), psi) for s in (1, -1))
    for a, g, up, down in zip(found, generic, ahead, behind, strict=True):
        wanted = (up - down) / (2 * step)
        torch.testing.assert_close(a, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
        torch.testing.assert_close(g, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("matching", [DM, MSE], ids=["dm", "mse"])
def test_taylor_is_exact_for_squared_distances(matching: Matching) -> None:
    net, pairs = network(dtype=torch.float64), (draw(7, "real", dtype=torch.float64), draw(2, "s", dtype=torch.float64))
    first, exact = (torch.cat(list(effects(matching, net, ClassBatch(*pairs), EffectSettings(name)))) for name in ("taylor", "oracle"))
    torch.testing.assert_close(first, exact, rtol=1e-6, atol=1e-9 * float(exact.abs().max()))


def test_taylor_of_l1_is_zero_and_refused() -> None:
    net, real, synthetic = network(), draw(7, "real"), draw(2, "synthetic")
    phi = L1.real(net, *real)
    mu, psi = L1.real_mean(net, *real), L1.real_mean(net, *synthetic)
    assert all(not bool(block.any()) for block in differences_by(first_order_differences, L1, mu, phi, psi, 7))
    assert any(bool(block.any()) for block in cotangent_differences(L1, mu, phi, psi, 7))
    with pytest.raises(ConfigError, match="linear in pieces"):
        ite(L1, net, ClassBatch(real, synthetic), EffectSettings("taylor"))


@CURVED
@pytest.mark.parametrize("estimator", ["sketch", "taylor"])
def test_degenerate_batches_are_finite(matching: Matching, estimator: Estimator) -> None:
    net, (images, targets), synthetic = network(), draw(6, "real"), draw(2, "synthetic")
    same = images[:1].expand(6, *SHAPE).contiguous()
    assert torch.equal(ite(matching, net, ClassBatch((same, targets), synthetic), EffectSettings(estimator)), torch.zeros(6))
    assert ite(matching, net, ClassBatch((images[:2], targets[:2]), synthetic), EffectSettings(estimator)).isfinite().all()
    twice = torch.cat([images[:3], images[:3]])
    norms = ite(matching, net, ClassBatch((twice, targets), synthetic), EffectSettings(estimator, directions=16))
    assert norms.isfinite().all()
    torch.testing.assert_close(norms[:3], norms[3:], rtol=1e-2, atol=1e-4 * float(norms.max()))


def test_effects_of_a_sketch_are_refused() -> None:
    with pytest.raises(ConfigError, match="norms, not the effects"):
        effects(DC, network(), ClassBatch(draw(3, "real"), draw(1, "s")), EffectSettings("sketch"))


def test_auto_takes_the_sketch_where_it_pays_and_vouches_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net, pairs = network(), (draw(40, "real"), draw(8, "synthetic"))
    exact, estimated = (measure(DC, net, ClassBatch(*pairs), EffectSettings(name, directions=16)).norms for name in ("cotangent", "sketch"))
    monkeypatch.setattr("bilp.causal.group.prefers_sketch", lambda *_: True)
    for bound, wanted in ((0.0, estimated), (1.1, exact)):
        monkeypatch.setattr("bilp.causal.group.RANK_AGREEMENT", bound)
        torch.testing.assert_close(
            measure(DC, net, ClassBatch(*pairs), EffectSettings("auto", directions=16)).norms, wanted, rtol=1e-3, atol=0.0
        )


@pytest.mark.parametrize(("first", "tries"), [(0.95, [16, 32]), (0.8, [16]), (0.97, [16])])
def test_auto_doubles_the_directions_only_if_that_promises_enough(monkeypatch: pytest.MonkeyPatch, first: float, tries: list[int]) -> None:
    net, pairs = network(), (draw(40, "real"), draw(8, "synthetic"))
    exact, seen = measure(DC, net, ClassBatch(*pairs), EffectSettings("cotangent")).norms, []

    def counted(*given: object) -> list[Sketch]:
        seen.append(given[3])
        return [Sketch(torch.zeros(40), first)]

    monkeypatch.setattr("bilp.causal.group.prefers_sketch", lambda *_: True)
    monkeypatch.setattr("bilp.causal.group.sketch", counted)
    found = measure(DC, net, ClassBatch(*pairs), EffectSettings("auto", directions=16)).norms
    assert seen == tries
    torch.testing.assert_close(found, torch.zeros(40) if first >= RANK_AGREEMENT else exact)


def test_costs() -> None:
    assert not prefers_sketch(256, 1, 3072, 320_000, 64)
    assert prefers_sketch(256, 10, 3072, 320_000, 64)
    assert prefers_sketch(256, 50, 3072, 320_000, 64)
    assert not prefers_sketch(16, 10, 3072, 320_000, 64)
    assert not prefers_sketch(256, 10, 3072, 20, 64)  # the whole Jacobian has 20 rows


def test_directions_are_shared_by_the_images() -> None:
    assert directions_per_image(64, 1, 3072, 256) == (32, 32)
    assert directions_per_image(64, 1, 3072, 10) == (10, 54)
    assert directions_per_image(64, 10, 3072, 256) == (3, 4)
    assert directions_per_image(64, 50, 3072, 256) == (0, 3)
    assert directions_per_image(64, 1, 16, 256) == (8, 8)


def test_agreement_predicts_the_rank_correlation() -> None:
    stream = generator(74, "agreement")
    truth = torch.rand(2000, 1, generator=stream, dtype=torch.float64)
    for noise in (0.1, 0.5, 1.0):
        estimates = truth + noise * torch.randn(2000, 8, generator=stream, dtype=torch.float64)
        ranks = torch.stack([values.argsort().argsort().double() for values in (truth[:, 0], estimates.mean(dim=1))])
        assert agreement(estimates) == pytest.approx(float(torch.corrcoef(ranks)[0, 1]), abs=0.03)
        assert promised(agreement(estimates[:, :4]), 2) == pytest.approx(agreement(estimates), abs=0.02)
    assert agreement(torch.randn(2000, 1, generator=stream)) == 0.0
    assert agreement(torch.zeros(5, 3)) == 1.0
    (found,) = sketch(DC, *_parts(), 32, 0, 2**28)
    assert 0.0 < found.agreement <= 1.0


def _parts() -> tuple[list[RealVectors], Synthetic]:
    net, real = network(), draw(20, "real")
    side = Synthetic(DC, net, [ClassBatch(real, draw(4, "synthetic"))], 2**28)
    return [RealVectors(DC, net, real, affordable=20)], side


def test_configuration_offers_the_same_estimators() -> None:
    assert ReselectConfig().directions == DIRECTIONS
    for name in ESTIMATORS:
        assert ReselectConfig(estimator=name).estimator == name
