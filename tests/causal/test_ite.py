"""The causal effect: estimators against the definition, identities of the definition, and degenerate batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from bilp.causal import ClassBatch, EffectSettings, Estimator, effects, ite
from bilp.causal.cotangent import cotangent_differences
from bilp.causal.reference.oracle import meta_gradient
from bilp.causal.synthetic_images import DensePullback
from bilp.causal.vectors import chunk_size
from bilp.config import AugmentFamily, NetworkConfig
from bilp.errors import ConfigError
from bilp.images import augment
from bilp.matching import FeatureMatching, GradientMatching, Matching
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

DM, DC = FeatureMatching(), GradientMatching("dc")
BOTH = pytest.mark.parametrize("matching", [DM, DC], ids=["dm", "dc"])
FAMILIES: tuple[AugmentFamily, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
SHAPE, CLASSES, LABEL = (3, 16, 16), 5, 2

Augment = Callable[[Tensor], Tensor]


def network(width: int = 16, name: str = "convnet", dtype: torch.dtype = torch.float32) -> Network:
    config = NetworkConfig(width=width) if name == "convnet" else NetworkConfig(name=name)
    built = build(config, SHAPE, CLASSES)
    initialize(built, generator(51, name, width))
    return built.to(dtype)


def draw(count: int, *path: str | int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images with a common part, so that their mean is more than noise."""
    stream = generator(51, *path)
    common = torch.randn(SHAPE, generator=stream, dtype=torch.float64)
    return (common + torch.randn(count, *SHAPE, generator=stream, dtype=torch.float64)).to(dtype)


def labels(count: int) -> Tensor:
    return torch.full((count,), LABEL)


def all_effects(
    matching: Matching,
    net: Network,
    real: Tensor,
    synthetic: Tensor,
    estimator: Estimator = "cotangent",
    apply: Augment = lambda images: images,
    byte_budget: int = 2**28,
) -> Tensor:
    """`[B, M, C, H, W]`."""
    pairs = (real, labels(len(real))), (synthetic, labels(len(synthetic)))
    return torch.cat(list(effects(matching, net, ClassBatch(*pairs, apply), EffectSettings(estimator, byte_budget=byte_budget))))


def assert_close_each(found: Tensor, wanted: Tensor, rtol: float) -> None:
    """Each sample's effect as a vector, relative to its own length."""
    error = (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
    assert float(error.max()) < rtol, error


def siamese(family: str) -> Augment:
    return partial(augment.apply, params=augment.draw((family,), SHAPE[1:], generator(58, "augment", family)))


@BOTH
@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("images", [1, 10])
def test_cotangent_form_equals_leaving_one_out(matching: Matching, width: int, images: int) -> None:
    net, apply = network(width), siamese("color")
    real, synthetic = apply(draw(7, "real", width)), draw(images, "synthetic", images)
    oracle = all_effects(matching, net, real, synthetic, "oracle", apply)
    assert oracle.shape == (7, images, *SHAPE)
    assert_close_each(all_effects(matching, net, real, synthetic, "cotangent", apply), oracle, 1e-3)


@BOTH
@pytest.mark.parametrize("family", FAMILIES)
def test_derivative_is_by_the_stored_images_under_every_augmentation(matching: Matching, family: str) -> None:
    net, apply = network(8), siamese(family)
    real, synthetic = apply(draw(5, "real", family)), draw(2, "synthetic", family)
    oracle = all_effects(matching, net, real, synthetic, "oracle", apply)
    assert_close_each(all_effects(matching, net, real, synthetic, "cotangent", apply), oracle, 1e-3)
    assert not torch.allclose(oracle, all_effects(matching, net, real, synthetic, "oracle"), rtol=1e-2)


@BOTH
@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_other_networks(matching: Matching, name: str) -> None:
    net, real, synthetic = network(name=name), draw(4, "real"), draw(2, "synthetic")
    assert_close_each(all_effects(matching, net, real, synthetic), all_effects(matching, net, real, synthetic, "oracle"), 1e-3)


class Residual(nn.Module):
    """A block of ResNet: two convolutions beside a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False)
        self.shortcut, self.norm = nn.Conv2d(3, 6, 1, stride=2, bias=False), nn.GroupNorm(6, 6)

    def forward(self, images: Tensor) -> Tensor:
        return (self.norm(self.second(self.first(images).relu())) + self.shortcut(images)).relu().flatten(1)


@BOTH
def test_branches(matching: Matching) -> None:
    net = Network(Residual(), 6 * 8 * 8, CLASSES)
    initialize(net, generator(52, "residual"))
    real, synthetic = draw(4, "real"), draw(2, "synthetic")
    assert_close_each(all_effects(matching, net, real, synthetic), all_effects(matching, net, real, synthetic, "oracle"), 1e-3)


@BOTH
@pytest.mark.parametrize("norm", ["batch", "layer", "group", "none"])
def test_other_normalizations(matching: Matching, norm: str) -> None:
    net = build(NetworkConfig(width=8, norm=norm, pooling="max", activation="leaky_relu"), SHAPE, CLASSES)
    initialize(net, generator(52, norm))
    matching.freeze_statistics(net, draw(16, "statistics"))
    real, synthetic = draw(5, "real"), draw(2, "synthetic")
    assert_close_each(all_effects(matching, net, real, synthetic), all_effects(matching, net, real, synthetic, "oracle"), 1e-3)


@BOTH
def test_trained_network(matching: Matching) -> None:
    """Later networks, whose gradients are small, are as exact (in float64: float32 gradients cancel more and more)."""
    net = network(8, dtype=torch.float64)
    data = torch.cat([draw(20, "train", c, dtype=torch.float64) for c in range(CLASSES)])
    targets = torch.arange(CLASSES).repeat_interleave(20)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(data), targets).backward()
        optimizer.step()
    optimizer.zero_grad()
    real, synthetic = data[targets == LABEL][:8], draw(1, "synthetic", dtype=torch.float64)
    assert_close_each(all_effects(matching, net, real, synthetic), all_effects(matching, net, real, synthetic, "oracle"), 1e-5)


@BOTH
def test_norms_are_those_of_the_effects(matching: Matching) -> None:
    net, real, synthetic = network(8), draw(6, "real"), draw(2, "synthetic")
    wanted = all_effects(matching, net, real, synthetic).flatten(1).norm(dim=1)
    for estimator in ("auto", "cotangent", "oracle"):
        norms = ite(matching, net, ClassBatch((real, labels(6)), (synthetic, labels(2))), EffectSettings(estimator))
        assert norms.shape == (6,)
        assert norms.dtype == torch.float32
        assert not norms.requires_grad
        torch.testing.assert_close(norms, wanted, rtol=1e-3, atol=0.0)


@BOTH
@pytest.mark.parametrize("byte_budget", [1, 200_000, 2**28])
def test_memory_budget_changes_no_result(matching: Matching, byte_budget: int) -> None:
    net, real, synthetic = network(8), draw(40, "real"), draw(1, "synthetic")  # more than one micro-batch
    wanted = all_effects(matching, net, real, synthetic)
    assert_close_each(all_effects(matching, net, real, synthetic, byte_budget=byte_budget), wanted, 1e-4)


@BOTH
def test_nothing_is_left_behind(matching: Matching) -> None:
    net, real, synthetic = network(8), draw(4, "real"), draw(1, "synthetic").requires_grad_()
    with torch.no_grad():
        all_effects(matching, net, real, synthetic)
    assert synthetic.grad is None
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert net.training


def test_frozen_parameters_suffice_for_features() -> None:
    net, real, synthetic = network(8), draw(4, "real"), draw(1, "synthetic")
    wanted = all_effects(DM, net, real, synthetic)
    torch.testing.assert_close(all_effects(DM, net.requires_grad_(False), real, synthetic), wanted)


# Identities of the definition (1, 4 and 5 of the method's own list).


def test_effects_of_features_sum_to_zero() -> None:
    found = all_effects(DM, network(8, dtype=torch.float64), draw(9, "real", dtype=torch.float64), draw(3, "s", dtype=torch.float64))
    assert float(found.sum(dim=0).norm()) < 1e-10 * float(found.flatten(1).norm(dim=1).sum())


def test_effect_of_features_in_closed_form() -> None:
    """ITE_i = -2 / (B - 1) J^T (h_i - mean h), with J from autograd."""
    net, real, synthetic = network(8), draw(6, "real"), draw(2, "synthetic")
    jacobian = torch.func.jacrev(lambda s: net.embed(s).mean(dim=0))(synthetic)
    features = net.embed(real).detach()
    wanted = torch.einsum("bf,fmchw->bmchw", -2.0 / 5.0 * (features - features.mean(dim=0)), jacobian)
    assert_close_each(all_effects(DM, net, real, synthetic), wanted.detach(), 1e-4)


def test_duplicating_the_batch_divides_the_effects_of_features() -> None:
    net, real, synthetic = network(8), draw(7, "real"), draw(2, "synthetic")
    once, twice = (all_effects(DM, net, images, synthetic) for images in (real, torch.cat([real, real])))
    assert_close_each(twice, torch.cat([once, once]) * (6.0 / 13.0), 1e-4)


@BOTH
def test_duplicates_have_equal_effects(matching: Matching) -> None:
    real = draw(6, "real")
    real[4] = real[1]
    found = all_effects(matching, network(8), real, draw(1, "synthetic"))
    assert_close_each(found[4:5], found[1:2], 1e-4)


@BOTH
def test_order_of_the_samples_does_not_matter(matching: Matching) -> None:
    net, real, synthetic = network(8), draw(6, "real"), draw(1, "synthetic")
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert_close_each(all_effects(matching, net, real[order], synthetic), all_effects(matching, net, real, synthetic)[order], 1e-3)


def test_only_direction_of_the_mean_matters_for_the_cosine() -> None:
    """The linearized effect of phi_i - mu equals that of phi_i (Euler); not so for a squared distance."""
    net = network(8, dtype=torch.float64)
    real, synthetic = draw(6, "real", dtype=torch.float64), draw(2, "synthetic", dtype=torch.float64)
    for matching, same in ((DC, True), (DM, False)):
        phi = matching.real(net, real, labels(6))
        mu = tuple(block.mean(dim=0) for block in phi)
        points = synthetic.clone().requires_grad_()
        psi = matching.synthetic(net, points, labels(2))
        fixed = tuple(block.detach() for block in psi)

        def linearized(
            direction: tuple[Tensor, ...], matching: Matching = matching, mu: tuple[Tensor, ...] = mu, fixed: tuple[Tensor, ...] = fixed
        ) -> tuple[Tensor, ...]:
            step = 1e-4
            ahead, behind = (
                matching.cotangent(tuple(m + sign * step * d for m, d in zip(mu, direction, strict=True)), fixed) for sign in (1, -1)
            )
            return tuple((a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True))

        sample = tuple(block[0] for block in phi)
        apart = tuple(block - m for block, m in zip(sample, mu, strict=True))
        first, second = (torch.autograd.grad(psi, points, linearized(d), retain_graph=True)[0] for d in (sample, apart))
        difference = float((first - second).norm() / first.norm())
        assert (difference < 1e-3) if same else (difference > 0.1), (matching.name, difference)


# Degenerate batches.


@BOTH
def test_one_sample_is_refused(matching: Matching) -> None:
    for estimator in ("auto", "oracle"):
        with pytest.raises(ConfigError, match="at least 2 real samples"):
            ite(matching, network(8), ClassBatch((draw(1, "real"), labels(1)), (draw(1, "s"), labels(1))), EffectSettings(estimator))
    with pytest.raises(ConfigError, match="no synthetic image"):
        ite(matching, network(8), ClassBatch((draw(2, "real"), labels(2)), (draw(1, "s")[:0], labels(0))))
    with pytest.raises(ConfigError, match="unknown estimator"):
        ite(matching, network(8), ClassBatch((draw(2, "real"), labels(2)), (draw(1, "s"), labels(1))), EffectSettings("guess"))


@BOTH
def test_coupled_samples_are_refused(matching: Matching) -> None:
    net = build(NetworkConfig(width=8, norm="batch"), SHAPE, CLASSES)
    initialize(net, generator(53, "batch"))
    with pytest.raises(ConfigError, match="freeze_statistics"):
        ite(matching, net, ClassBatch((draw(3, "real"), labels(3)), (draw(1, "s"), labels(1))))


@BOTH
@pytest.mark.parametrize("count", [2, 3, 37, 64])
def test_equal_samples_have_no_effect(matching: Matching, count: int) -> None:
    real = draw(1, "real").expand(count, *SHAPE).contiguous()
    norms = ite(matching, network(16), ClassBatch((real, labels(count)), (draw(2, "synthetic"), labels(2))))
    assert torch.equal(norms, torch.zeros(count))


@BOTH
def test_two_samples(matching: Matching) -> None:
    net, real, synthetic = network(8), draw(2, "real"), draw(1, "synthetic")
    assert_close_each(all_effects(matching, net, real, synthetic), all_effects(matching, net, real, synthetic, "oracle"), 1e-3)


class Silent(Network):
    """A network whose features and weight gradients vanish for negative images."""

    def __init__(self) -> None:
        body = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten())
        super().__init__(body, 4 * 14 * 14, CLASSES)
        for place, parameter in enumerate(self.parameters()):
            parameter.data = torch.rand(parameter.shape, generator=generator(54, place)) * 0.1


@BOTH
@pytest.mark.parametrize("estimator", ["cotangent", "oracle"])
def test_zero_vectors_are_finite(matching: Matching, estimator: Estimator) -> None:
    net, loud = Silent(), draw(3, "real").abs()
    mixed = torch.cat([loud, -loud[:2]])
    assert all(float(block[3:].abs().max()) == 0.0 for block in matching.real(net, mixed, labels(5)))
    synthetic = draw(2, "synthetic").abs()
    norms = ite(matching, net, ClassBatch((mixed, labels(5)), (synthetic, labels(2))), EffectSettings(estimator))
    assert norms.isfinite().all()
    assert float(norms[:3].min()) > 0.0
    silent = ite(matching, net, ClassBatch((-loud, labels(3)), (synthetic, labels(2))), EffectSettings(estimator))  # a mean of exactly zero
    assert torch.equal(silent, torch.zeros(3))
    dead = ite(
        matching, net, ClassBatch((mixed, labels(5)), (-synthetic, labels(2))), EffectSettings(estimator)
    )  # synthetic images without a gradient
    assert torch.equal(dead, torch.zeros(5))


# The parts.


@BOTH
def test_cotangent_differences_are_those_of_the_remaining_mean(matching: Matching) -> None:
    net, real = network(8, dtype=torch.float64), draw(5, "real", dtype=torch.float64)
    phi = matching.real(net, real, labels(5))
    mean = tuple(block.mean(dim=0) for block in phi)
    psi = matching.real_mean(net, draw(1, "synthetic", dtype=torch.float64), labels(1))
    before = [block.clone() for block in (*phi, *mean, *psi)]
    found = cotangent_differences(matching, mean, phi, psi, 5)
    for i in range(5):
        rest = torch.arange(5) != i
        without = matching.cotangent(tuple(block[rest].mean(dim=0) for block in phi), psi)
        for block, whole, left in zip(found, matching.cotangent(mean, psi), without, strict=True):
            torch.testing.assert_close(block[i], whole - left, rtol=1e-7, atol=1e-9 * float(whole.abs().max()))
    assert all(torch.equal(old, new) for old, new in zip(before, (*phi, *mean, *psi), strict=True))


def test_chunks_are_whole_numbers_of_lanes_within_the_budget() -> None:
    assert chunk_size(32, 16, 1000) == 32
    assert chunk_size(32, 15, 1000) == 30
    assert chunk_size(32, 100, 1000) == 100
    assert chunk_size(32, 15, 20) == 15
    assert chunk_size(32, 15, 7) == 7
    assert chunk_size(32, 1, 1) == 1


@BOTH
def test_whole_jacobian_equals_products_with_it(matching: Matching) -> None:
    net = build(NetworkConfig(width=2, depth=1, pooling="max"), (3, 4, 4), 2)
    initialize(net, generator(55, "small"))
    points, targets = torch.randn(2, 3, 4, 4, generator=generator(55, "x")), torch.tensor([0, 1])
    psi = matching.real_mean(net, points, targets)
    pull = matching.pullback(net, points, targets, 5, 2**26)
    cotangents = tuple(torch.randn(pull.lanes, 1, *block.shape, generator=generator(55, "c")) for block in psi)
    torch.testing.assert_close(DensePullback(pull, tuple(block[None] for block in psi))(cotangents), pull(cotangents), rtol=1e-4, atol=1e-5)


def test_many_samples_of_few_features_use_the_whole_jacobian() -> None:
    """16 features, 20 samples: both ways round agree with the definition."""
    net = build(NetworkConfig(width=4, depth=3), SHAPE, CLASSES)
    initialize(net, generator(56, "few"))
    real, synthetic = draw(20, "real"), draw(1, "synthetic")
    assert net.classifier.in_features == 16
    oracle = all_effects(DM, net, real, synthetic, "oracle")
    for byte_budget in (2**28, 1):  # with room for the Jacobian and without
        assert_close_each(all_effects(DM, net, real, synthetic, byte_budget=byte_budget), oracle, 1e-3)


def test_meta_gradient_by_finite_differences() -> None:
    net = build(NetworkConfig(width=4, depth=2, activation="swish"), SHAPE, CLASSES)
    initialize(net, generator(57, "smooth"))
    net.double()
    real, synthetic = draw(3, "real", dtype=torch.float64), draw(1, "synthetic", dtype=torch.float64)
    apply = siamese("scale")
    for matching in (DM, DC):
        mean = matching.real_mean(net, real, labels(3))
        gradient = meta_gradient(matching, net, mean, (synthetic, labels(1)), apply)

        def loss(x: Tensor, matching: Matching = matching, mean: tuple[Tensor, ...] = mean) -> float:
            return matching.distance(mean, matching.synthetic(net, apply(x), labels(1))).item()

        direction = torch.randn(synthetic.shape, generator=generator(57, "direction"), dtype=torch.float64)
        slope = (loss(synthetic + 1e-5 * direction) - loss(synthetic - 1e-5 * direction)) / 2e-5
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4)
