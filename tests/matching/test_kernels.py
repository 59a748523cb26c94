"""Matching of kernel gradients (IDC): distances against plain restatements, derivatives, and exact effects under decoding."""

from __future__ import annotations

from functools import partial
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from bilp.causal import ClassBatch, EffectSettings, Estimator, effects
from bilp.causal.cotangent import cotangent_differences
from bilp.config import NetworkConfig
from bilp.config.decode import DecodeConfig
from bilp.config.methods.idc import IdcConfig, KernelMetric
from bilp.errors import ConfigError
from bilp.images import augment
from bilp.images.multiformation import decode_class
from bilp.matching import KernelMatching, Vectors, matching_for
from bilp.matching.distance import absolute, absolute_cotangent
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

METRICS = pytest.mark.parametrize("metric", get_args(KernelMetric))
SHAPE, CLASSES, LABEL = (3, 8, 8), 4, 1


def network(norm: str = "instance", activation: str = "relu", dtype: torch.dtype = torch.float64) -> Network:
    built = build(NetworkConfig.model_validate({"width": 8, "depth": 2, "norm": norm, "activation": activation}), SHAPE, CLASSES)
    initialize(built, generator(71, norm))
    return built.to(dtype)


def draw(count: int, name: str) -> tuple[Tensor, Tensor]:
    images = torch.randn(count, *SHAPE, generator=generator(71, name), dtype=torch.float64)
    return images, torch.full((count,), LABEL)


def vectors(name: str, batch: tuple[int, ...] = ()) -> Vectors:
    stream = generator(72, name)
    return tuple(torch.randn(*batch, *shape, generator=stream, dtype=torch.float64) for shape in ((4, 6), (3, 9)))


def test_the_distances_are_sums_over_all_values() -> None:
    mu, psi = vectors("mu"), vectors("psi")
    pairs = [(x, y) for a, b in zip(mu, psi, strict=True) for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)]
    assert float(KernelMatching("idc", "mse").distance(mu, psi)) == pytest.approx(sum((x - y) ** 2 for x, y in pairs), rel=1e-12)
    assert float(KernelMatching("idc", "l1").distance(mu, psi)) == pytest.approx(sum(abs(x - y) for x, y in pairs), rel=1e-12)


@METRICS
def test_the_cotangent_equals_autograd_with_and_without_a_leading_axis(metric: KernelMetric) -> None:
    matching, mu, psi = KernelMatching("dream", metric), vectors("many", (5,)), vectors("psi")
    psi[0][1] = mu[0][2, 1]  # equal values: the slope of l1 is 0 there
    leaves = tuple(block.clone().requires_grad_() for block in psi)
    found = matching.cotangent(mu, psi)
    for k in range(5):
        single = tuple(block[k] for block in mu)
        wanted = torch.autograd.grad(matching.distance(single, leaves), leaves)
        for one, other, alone in zip(wanted, found, matching.cotangent(single, psi), strict=True):
            torch.testing.assert_close(other[k], one)
            assert torch.equal(other[k], alone)


@METRICS
@pytest.mark.parametrize("norm", ["instance", "layer"])
def test_only_kernels_take_part(metric: KernelMetric, norm: str) -> None:
    net, (images, labels) = network(norm), draw(5, "real")
    matching = matching_for("idc", idc=IdcConfig(metric=metric))
    kernels = [module.weight for module in net.modules() if isinstance(module, nn.Conv2d)]
    mean = matching.real_mean(net, images, labels)
    wanted = torch.autograd.grad(nn.functional.cross_entropy(net(images), labels), kernels)
    psi = matching.synthetic(net, images, labels)
    for block, each, single, plain in zip(mean, matching.real(net, images, labels), psi, wanted, strict=True):
        assert not block.requires_grad
        torch.testing.assert_close(block, plain.flatten(1))
        torch.testing.assert_close(each.mean(dim=0), plain.flatten(1))
        torch.testing.assert_close(single.detach(), plain.flatten(1))


@METRICS
def test_the_derivative_by_the_stored_images_agrees_with_finite_differences(metric: KernelMetric) -> None:
    net, matching = network(activation="swish"), KernelMatching("idc", metric)
    mean = matching.real_mean(net, *draw(4, "real"))
    config, (stored, _) = DecodeConfig(factor=2, kind="multi"), draw(1, "stored")
    params = augment.draw_combined(("color", "crop", "cutout"), SHAPE[1:], generator(71, "params"))

    def loss(points: Tensor) -> Tensor:
        entering = augment.apply(decode_class(points, config, torch.zeros(3)), params)
        return matching.distance(mean, matching.synthetic(net, entering, torch.full((len(entering),), LABEL)))

    points = stored.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(points), points)
    for k in range(4):
        direction = torch.randn(stored.shape, generator=generator(71, "direction", k), dtype=torch.float64)
        slope = (loss(stored + 1e-6 * direction) - loss(stored - 1e-6 * direction)).item() / 2e-6
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-3 if metric == "l1" else 1e-5)


@METRICS
@pytest.mark.parametrize("norm", ["instance", "layer", "batch"])
@pytest.mark.parametrize("factor", [1, 2])
def test_effects_on_stored_images_are_those_of_leaving_samples_out(metric: KernelMetric, norm: str, factor: int) -> None:
    net, matching = network(norm), KernelMatching("idc", metric)
    matching.freeze_statistics(net, draw(9, "statistics")[0])
    stored, config = draw(2, "stored")[0], DecodeConfig(factor=factor)
    labels = torch.full((config.count(2),), LABEL)
    decode = partial(decode_class, config=config, filling=torch.zeros(3))

    def found(estimator: Estimator) -> Tensor:
        return torch.cat(list(effects(matching, net, ClassBatch(draw(6, "real"), (stored, labels), decode), EffectSettings(estimator))))

    wanted = found("oracle")
    assert wanted.shape == (6, *stored.shape)
    assert (wanted.flatten(1).norm(dim=1) > 0).all()
    error = (found("cotangent") - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
    assert float(error.max()) < 1e-6


def test_squared_effects_sum_to_zero() -> None:
    net, matching = network(), KernelMatching("idc", "mse")
    found = torch.cat(list(effects(matching, net, ClassBatch(draw(7, "real"), draw(2, "stored")))))
    assert float(found.sum(dim=0).norm()) < 1e-10 * float(found.flatten(1).norm(dim=1).sum())


def test_absolute_effects_exist_where_a_first_order_expansion_has_none() -> None:
    mu, psi = vectors("mu"), vectors("psi")
    leaves = tuple(block.clone().requires_grad_() for block in mu)
    by_psi = torch.autograd.functional.jacobian(lambda a: absolute_cotangent((a,), (psi[0],))[0], leaves[0])
    assert not by_psi.any()  # the derivative of the cotangent by the mean
    matching, phi = KernelMatching("idc", "l1"), vectors("phi", (12,))
    mean = tuple(block.mean(dim=0) for block in phi)
    exact = cotangent_differences(matching, mean, tuple(block.clone() for block in phi), psi, 12)
    without = [tuple((block.sum(dim=0) - block[i]) / 11 for block in phi) for i in range(12)]
    assert any(bool(block.any()) for block in exact)
    for i, rest in enumerate(without):
        for block, whole, left in zip(exact, absolute_cotangent(mean, psi), absolute_cotangent(rest, psi), strict=True):
            assert torch.equal(block[i], whole - left)
    assert float(absolute(mean, mean)) == 0.0


def test_layers_without_a_rule_take_the_generic_path() -> None:
    class Other(nn.Conv2d):
        """A subclass may compute something else, so it has no rule."""

    body = nn.Sequential(Other(3, 4, 3, padding=1, dtype=torch.float64), nn.ReLU(), nn.Flatten())
    net = Network(body, 4 * 64, CLASSES).double()
    matching = KernelMatching("idc", "mse")
    one, other = (
        torch.cat(list(effects(matching, net, ClassBatch(draw(4, "real"), draw(2, "stored")), EffectSettings(estimator))))
        for estimator in ("cotangent", "oracle")
    )
    torch.testing.assert_close(one, other)


def test_refusals_say_what_to_do() -> None:
    matching = KernelMatching("idc", "mse")
    plain = build(NetworkConfig(name="mlp"), SHAPE, CLASSES)
    images, labels = draw(2, "real")
    with pytest.raises(ConfigError, match="this network has none: use method dc"):
        matching.real_mean(plain, images, labels)
    with pytest.raises(ConfigError, match="requires_grad_"):
        matching.synthetic(network().requires_grad_(False), images, labels)
