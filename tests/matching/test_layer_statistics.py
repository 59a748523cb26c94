"""Statistics of batch norm's inputs: against whole batches, leaving a sample out, what the variance within images misses, derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bilp.causal import ClassBatch, EffectSettings, effects, ite, signed_effects
from bilp.causal.about_mean import AboutMean, MeanVector
from bilp.config import NetworkConfig
from bilp.config.methods.inversion import InversionConfig
from bilp.errors import ConfigError
from bilp.matching import Matching
from bilp.matching.layer_statistics import StatisticsMatching, layers_of, moments, running_moments, variances
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SHAPE, CLASSES = (3, 8, 8), 4
NETWORKS = [
    NetworkConfig(width=6, depth=2, norm="batch"),
    pytest.param(NetworkConfig(name="resnet10", norm="batch"), marks=pytest.mark.slow),
]


def network_of(config: NetworkConfig = NETWORKS[0], dtype: torch.dtype = torch.float64) -> Network:  # type: ignore[assignment]
    """In eval mode, with statistics of a few batches."""
    network = build(config, SHAPE, CLASSES)
    initialize(network, generator(5, "network"))
    network.to(dtype).train()
    with torch.no_grad():
        for k in range(3):
            network(2 * images_of(8, "trained", str(k))[0].to(dtype) + 1)
    return network.eval().requires_grad_(False)


def images_of(count: int, *path: str) -> tuple[Tensor, Tensor]:
    return torch.randn(count, *SHAPE, generator=generator(5, *path), dtype=torch.float64), torch.full((count,), 1)


def matching_of(**changes: float) -> StatisticsMatching:
    return StatisticsMatching("toy", InversionConfig(**changes))


def maps_of(network: Network, images: Tensor) -> list[Tensor]:
    """What enters each batch norm, by the library's hooks."""
    found: dict[nn.Module, Tensor] = {}
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [layer.register_forward_hook(lambda module, given, _: found.__setitem__(module, given[0])) for layer in layers]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return [found[layer] for layer in layers]


@pytest.mark.parametrize("config", NETWORKS)
def test_mean_and_variance_of_all_pixels_of_a_batch_follow_from_means_over_images(config: NetworkConfig) -> None:
    network, (images, labels) = network_of(config), images_of(7, "real")
    mean = matching_of().real_mean(network, images, labels)
    for layer, maps, m, v in zip(layers_of(network), maps_of(network, images), mean[::2], variances(mean), strict=True):
        torch.testing.assert_close(m + layer.running_mean, maps.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(v, maps.transpose(0, 1).flatten(1).var(1, unbiased=False), rtol=1e-10, atol=1e-12)
    logits, _ = moments(network, images)
    torch.testing.assert_close(logits, network(images))


def test_statistics_of_clips_are_those_of_all_their_frames() -> None:
    network = build(NetworkConfig(name="video_convnet_mean", width=6, depth=2, norm="batch"), (4, *SHAPE), CLASSES)
    initialize(network, generator(5, "network"))
    network.double().eval()
    clips = torch.randn(3, 4, *SHAPE, generator=generator(5, "clips"), dtype=torch.float64)
    mean = matching_of().real_mean(network, clips, torch.zeros(3, dtype=torch.int64))
    for layer, maps, m, v in zip(layers_of(network), maps_of(network, clips), mean[::2], variances(mean), strict=True):
        assert len(maps) == 12
        torch.testing.assert_close(m + layer.running_mean, maps.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(v, maps.transpose(0, 1).flatten(1).var(1, unbiased=False), rtol=1e-10, atol=1e-12)


def test_leaving_a_sample_out_of_mean_and_variance_is_a_formula() -> None:
    """mu - (m_i - mu) / (n - 1) and likewise q, against statistics of the other samples."""
    network, (images, labels) = network_of(), images_of(9, "real")
    matching = matching_of()
    phi, mean = matching.real(network, images, labels), matching.real_mean(network, images, labels)
    for i in range(9):
        rest = torch.arange(9) != i
        left = tuple(block - (own[i] - block) / 8 for block, own in zip(mean, phi, strict=True))
        again = maps_of(network, images[rest])
        for layer, maps, m, v in zip(layers_of(network), again, left[::2], variances(left), strict=True):
            torch.testing.assert_close(m + layer.running_mean, maps.mean((0, 2, 3)), rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(v, maps.transpose(0, 1).flatten(1).var(1, unbiased=False), rtol=1e-10, atol=1e-10)


def test_the_variance_within_images_is_not_that_of_a_class() -> None:
    """It misses how the images' means differ, which here is more than a tenth of the variance of every layer together."""
    network, (images, labels) = network_of(), images_of(12, "real")
    images = images + torch.randn(12, 3, 1, 1, generator=generator(5, "brightness"), dtype=torch.float64)
    mean = matching_of().real_mean(network, images, labels)
    for maps, variance in zip(maps_of(network, images), variances(mean), strict=True):
        within = maps.flatten(2).var(2, unbiased=False).mean(0)
        between = maps.mean((2, 3)).var(0, unbiased=False)
        torch.testing.assert_close(within + between, variance, rtol=1e-10, atol=1e-12)
        assert float(within.sum()) < 0.9 * float(variance.sum())


def test_the_distance_is_that_of_plain_norms_and_zero_at_the_target() -> None:
    network, matching = network_of(), matching_of(weight=0.3, first_layer=7.0)
    mu, psi = (matching.real_mean(network, *images_of(5, name)) for name in ("real", "synthetic"))
    apart = [(a - b).norm() + (v - w).norm() for a, b, v, w in zip(psi[::2], mu[::2], variances(psi), variances(mu), strict=True)]
    torch.testing.assert_close(matching.distance(mu, psi), 0.3 * (7 * apart[0] + sum(apart[1:])))
    assert float(matching.distance(mu, mu)) == 0.0
    assert not any(block.any() for block in matching.cotangent(mu, mu))
    held = running_moments(network)
    for layer, m, v in zip(layers_of(network), held[::2], variances(held), strict=True):
        assert not m.any()
        assert layer.running_var is not None
        torch.testing.assert_close(v, layer.running_var)


def test_cotangents_equal_autograd_with_any_leading_axes() -> None:
    network, matching = network_of(), matching_of()
    mu, psi = (matching.real(network, *images_of(6, name)) for name in ("real", "synthetic"))
    one, first = tuple(block[0] for block in psi), tuple(block[0] for block in mu)
    for found, wanted in zip(matching.cotangent(first, one), Matching._gradient_at(matching, first, one), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    many = matching.cotangent(mu, one)
    torch.testing.assert_close(many, Matching.cotangent(matching, mu, one), rtol=1e-9, atol=1e-12)
    by_class = matching.cotangents_by_class(tuple(block.view(3, 2, -1) for block in mu), tuple(block[:2] for block in psi))
    wanted_by_class = Matching.cotangents_by_class(matching, tuple(block.view(3, 2, -1) for block in mu), tuple(block[:2] for block in psi))
    torch.testing.assert_close(by_class, wanted_by_class, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("images", [1, 3])
def test_effects_are_those_of_the_definition_and_their_components_too(images: int) -> None:
    """A small class: vectors have more values than samples, and with many samples the Jacobian itself is held."""
    network, matching = network_of(), matching_of()
    batch = ClassBatch(images_of(8, "real"), images_of(images, "synthetic"))
    slow = ite(matching, network, batch, EffectSettings("oracle"))
    assert float(slow.min()) > 0
    torch.testing.assert_close(ite(matching, network, batch, EffectSettings("cotangent")), slow, rtol=1e-6, atol=0.0)
    mean, phi = matching.real_mean(network, *batch.real), matching.real(network, *batch.real)
    for measured in (8, 10_000):
        known = AboutMean(matching, network, batch.synthetic, batch.augment, MeanVector(mean, 8), measured, 2**29)
        torch.testing.assert_close(known.norms(phi).float(), slow, rtol=1e-6, atol=0.0)
        part = tuple(block[2:5] for block in phi)
        torch.testing.assert_close(known.norms(part).float(), slow[2:5], rtol=1e-6, atol=0.0)
    directions = torch.randn(2, *batch.synthetic[0].shape, generator=generator(5, "v"), dtype=torch.float64)
    along = known.along(phi, known.pushed(directions))
    wanted = directions.flatten(1) @ torch.cat(list(effects(matching, network, batch))).flatten(1).T
    torch.testing.assert_close(along, wanted, rtol=1e-6, atol=1e-9 * float(wanted.abs().max()))
    torch.testing.assert_close(along.float(), signed_effects(matching, network, batch, directions).along, rtol=1e-5, atol=1e-9)


def test_a_network_without_batch_norm_and_a_single_sample_are_refused() -> None:
    plain = build(NetworkConfig(width=6, depth=2), SHAPE, CLASSES)
    initialize(plain, generator(5, "network"))
    with pytest.raises(ConfigError, match="no batch norm"):
        matching_of().real_mean(plain, *(values.float() if values.is_floating_point() else values for values in images_of(3, "real")))
    network, matching = network_of(), matching_of()
    mean = matching.real_mean(network, *images_of(1, "real"))
    with pytest.raises(ConfigError, match="single sample"):
        AboutMean(matching, network, images_of(2, "synthetic"), lambda images: images, MeanVector(mean, 1), 1, 1)
