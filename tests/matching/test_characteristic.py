"""Characteristic functions: the paper's formula, its closed forms, the kernel behind it, and what the first order misses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.causal import ClassBatch, EffectSettings, effects, ite, signed_effects
from bilp.causal.cotangent import cotangent_differences
from bilp.causal.reference.taylor import first_order_differences
from bilp.config import CharacteristicConfig, NetworkConfig
from bilp.matching import Matching, Vectors
from bilp.matching.characteristic import CharacteristicMatching
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SHAPE, CLASSES = (3, 8, 8), 3
SLOW = pytest.mark.slow
WEIGHTS = pytest.mark.parametrize(
    ("amplitude", "phase"),
    [(0.5, 0.5), (0.1, 0.9), *(pytest.param(*pair, marks=SLOW) for pair in ((0.8, 0.2), (1.0, 0.0), (0.0, 1.0)))],
)


def matching_of(amplitude: float = 0.5, phase: float = 0.5, frequencies: int = 64) -> CharacteristicMatching:
    return CharacteristicMatching(CharacteristicConfig(amplitude=amplitude, phase=phase, frequencies=frequencies))


def network_of(dtype: torch.dtype = torch.float64) -> Network:
    network = build(NetworkConfig(width=8, depth=2), SHAPE, CLASSES)
    initialize(network, generator(5, "network"))
    return network.to(dtype)


def images_of(count: int, *path: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    drawn = torch.randn(count, *SHAPE, generator=generator(5, *path), dtype=torch.float64)
    return drawn.to(dtype), torch.full((count,), 1)


def features_of(count: int, *path: str) -> Tensor:
    """Of length one, `[count, 32]`, spread as those of trained networks: around a common direction."""
    stream = generator(6, *path)
    drawn = 0.5 * torch.randn(32, generator=generator(6, "common")) + torch.randn(count, 32, generator=stream)
    return functional.normalize(drawn.double(), dim=1)


def phi(features: Tensor, frequencies: Tensor) -> Vectors:
    angles = features @ frequencies.T
    return angles.cos(), angles.sin()


def mean(vectors: Vectors) -> Vectors:
    return tuple(block.mean(dim=0) for block in vectors)


def published(mu: Vectors, psi: Vectors, amplitude: float, phase: float) -> Tensor:
    """Amplitude and phase as the paper weighs them, in complex numbers, without a lower bound."""
    r, s = torch.complex(*mu), torch.complex(*psi)
    phases = 2 * (r.abs() * s.abs() - (r * s.conj()).real)
    return 300 * (amplitude * (r.abs() - s.abs()) ** 2 + phase * phases).sqrt().mean()


@pytest.fixture
def pair() -> tuple[Vectors, Vectors]:
    """Mean vectors of 40 real and 3 synthetic samples at 64 frequencies."""
    frequencies = torch.randn(64, 32, generator=generator(6, "frequencies"), dtype=torch.float64)
    return mean(phi(features_of(40, "real"), frequencies)), mean(phi(features_of(3, "synthetic"), frequencies))


@WEIGHTS
def test_the_distance_is_that_of_amplitude_and_phase(pair: tuple[Vectors, Vectors], amplitude: float, phase: float) -> None:
    found = matching_of(amplitude, phase).distance(*pair)
    assert float(found) == pytest.approx(float(published(*pair, amplitude, phase)), rel=1e-6)
    by_class = matching_of(amplitude, phase).distances_by_class(*(tuple(torch.stack([b, 2 * b]) for b in side) for side in pair))
    assert float(by_class[0]) == float(found)


def test_with_equal_weights_it_is_the_mean_distance_in_the_complex_plane(pair: tuple[Vectors, Vectors]) -> None:
    r, s = (torch.complex(*vectors) for vectors in pair)
    assert float(matching_of().distance(*pair)) == pytest.approx(float((300 / 2**0.5) * (r - s).abs().mean()), rel=1e-6)


@WEIGHTS
def test_the_derivatives_are_those_of_autograd(pair: tuple[Vectors, Vectors], amplitude: float, phase: float) -> None:
    mu, psi = pair
    matching = matching_of(amplitude, phase)
    expected = Matching.cotangent(matching, mu, psi)
    for found, wanted in zip(matching.cotangent(mu, psi), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    along = tuple(torch.randn(2, *block.shape, generator=generator(6, "along"), dtype=torch.float64) for block in mu)
    wanted_change = Matching.directional(matching, mu, psi, along)
    for found, wanted in zip(matching.directional(mu, psi, along), wanted_change, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@WEIGHTS
def test_equal_functions_and_amplitudes_of_zero_have_derivatives(pair: tuple[Vectors, Vectors], amplitude: float, phase: float) -> None:
    mu, psi = pair
    matching = matching_of(amplitude, phase)
    nothing = tuple(torch.zeros_like(block) for block in mu)
    for pairs in ((mu, mu), (nothing, psi), (mu, nothing), (nothing, nothing)):
        assert all(bool(block.isfinite().all()) for block in matching.cotangent(*pairs))
        assert all(bool(block.isfinite().all()) for block in Matching.cotangent(matching, *pairs))
    assert not any(block.any() for block in matching.cotangent(mu, mu))


def test_the_gradient_of_the_loss_is_checked_by_differences() -> None:
    network, matching = network_of(), matching_of(0.7, 0.3, frequencies=16)
    labels = torch.tensor([1])
    mu = matching.real_mean(network, *images_of(5, "real"))
    image = torch.randn(1, *SHAPE, generator=generator(5, "one"), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: matching.distance(mu, matching.synthetic(network, x, labels)), (image,), fast_mode=True)


@pytest.mark.parametrize("scale", [1.0, pytest.param(3.0, marks=SLOW)])
def test_the_mean_square_approaches_the_distance_of_a_gaussian_kernel(scale: float) -> None:
    """E_t |Phi_r(t) - Phi_s(t)|^2 = squared maximum mean discrepancy with kernel exp(-|f - g|^2 / 2), at 4096 frequencies to 5 %."""
    real, synthetic = scale * features_of(60, "real"), scale * features_of(4, "synthetic")
    frequencies = torch.randn(4096, 32, generator=generator(7, "many"), dtype=torch.float64)
    r, s = (torch.complex(*mean(phi(rows, frequencies))) for rows in (real, synthetic))

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(one, other).square() / 2).mean()

    expected = kernel(real, real) + kernel(synthetic, synthetic) - 2 * kernel(real, synthetic)
    assert float((r - s).abs().square().mean()) == pytest.approx(float(expected), rel=0.05)


def test_the_exact_effects_are_those_of_the_definition_and_the_first_order_is_not() -> None:
    network, matching = network_of(), matching_of(frequencies=256)
    batch = ClassBatch(images_of(24, "real"), images_of(2, "synthetic"))
    oracle = torch.cat(list(effects(matching, network, batch, EffectSettings("oracle"))))
    exact = torch.cat(list(effects(matching, network, batch, EffectSettings("cotangent"))))
    torch.testing.assert_close(exact, oracle, rtol=1e-7, atol=1e-9 * float(oracle.abs().max()))
    first = torch.cat(list(effects(matching, network, batch, EffectSettings("taylor"))))
    wrong = (first - oracle).flatten(1).norm(dim=1) / oracle.flatten(1).norm(dim=1)
    assert float(wrong.median()) > 0.05


@SLOW
def test_the_first_order_ranks_samples_badly_where_functions_nearly_meet() -> None:
    """Two hundred samples and synthetic ones that match them well, so that many frequencies decide on single samples."""
    frequencies = torch.randn(512, 32, generator=generator(8, "frequencies"), dtype=torch.float64)
    vectors, matching = phi(features_of(200, "real"), frequencies), matching_of(frequencies=512)
    mu, psi = mean(vectors), mean(tuple(block[:60] for block in vectors))
    exact = cotangent_differences(matching, mu, vectors, psi, 200)
    apart = tuple(block - center for block, center in zip(vectors, mu, strict=True))
    first = first_order_differences(matching, mu, apart, psi, 200)
    lengths = [torch.cat(blocks, dim=1).norm(dim=1) for blocks in (exact, first)]
    error = torch.cat([a - b for a, b in zip(exact, first, strict=True)], dim=1).norm(dim=1) / lengths[0]
    assert float(error.median()) > 0.1
    brute = []
    for i in range(200):
        rest = mean(tuple(block[torch.arange(200) != i] for block in vectors))
        brute.append(torch.cat([a - b for a, b in zip(matching.cotangent(mu, psi), matching.cotangent(rest, psi), strict=True)]).norm())
    torch.testing.assert_close(lengths[0], torch.stack(brute), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("estimator", ["auto", pytest.param("sketch", marks=SLOW)])
def test_estimates_of_norms_agree_with_the_definition(estimator: str) -> None:
    network, matching = network_of(torch.float32), matching_of(frequencies=128)
    batch = ClassBatch(images_of(12, "real", dtype=torch.float32), images_of(2, "synthetic", dtype=torch.float32))
    oracle = ite(matching, network, batch, EffectSettings("oracle"))
    found = ite(matching, network, batch, EffectSettings(estimator, directions=64))  # type: ignore[arg-type]
    if estimator == "auto":
        torch.testing.assert_close(found, oracle, rtol=2e-3, atol=1e-5 * float(oracle.max()))
    assert float(((found - oracle).abs() / oracle).mean()) < 0.25


@SLOW
def test_components_along_a_direction_are_those_of_the_effects() -> None:
    network, matching = network_of(), matching_of(0.3, 0.7)
    batch = ClassBatch(images_of(9, "real"), images_of(2, "synthetic"))
    direction = torch.randn(1, 2, *SHAPE, generator=generator(5, "direction"), dtype=torch.float64)
    found = signed_effects(matching, network, batch, direction).along[0]
    each = torch.cat(list(effects(matching, network, batch, EffectSettings("cotangent"))))
    torch.testing.assert_close(found.double(), (each * direction).flatten(1).sum(dim=1), rtol=1e-5, atol=1e-5 * float(found.abs().max()))


def test_a_sample_like_the_mean_has_no_effect_and_features_of_zero_are_no_error() -> None:
    network, matching = network_of(), matching_of()
    one, label = images_of(1, "real")
    same = ClassBatch((one.repeat(4, 1, 1, 1), label.repeat(4)), images_of(1, "synthetic"))
    assert not ite(matching, network, same, EffectSettings("cotangent")).any()
    features = torch.zeros(2, 8, dtype=torch.float64)
    assert [float(block.unique()) for block in matching.mean_of_features(features)] == [1.0, 0.0]


def test_means_of_known_features_and_weights_are_those_of_the_network() -> None:
    network, matching = network_of(), matching_of()
    images, labels = images_of(7, "real")
    weights = torch.tensor([0.0, 1.0, 2.0, 0.5, 0.5, 3.0, 1.0])
    features = network.embed(images).detach()
    pairs: list[tuple[Vectors, Vectors]] = [
        (matching.mean_of_features(features), mean(matching.real(network, images, labels))),
        (matching.mean_of_features(features, weights / weights.sum()), matching.weighted_mean(network, images, labels, weights)),
        (matching.real_mean(network, images, labels), matching.mean_of_features(features)),
    ]
    for found, wanted in pairs:
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_frequencies_are_those_of_the_stream_that_was_named() -> None:
    matching, features = matching_of(), torch.zeros(1, 5)
    start = matching.frequencies(features)
    matching.draw(3, "frequencies", 0, 1)
    first = matching.frequencies(features)
    assert first is matching.frequencies(features)
    torch.testing.assert_close(matching.frequencies(features.double()), first.double())
    matching.draw(3, "frequencies", 0, 2)
    other = matching.frequencies(features)
    matching.draw(3, "frequencies", 0, 1)
    assert torch.equal(matching.frequencies(features), first)
    assert not torch.equal(other, first)
    assert not torch.equal(start, first)
    assert first.shape == (64, 5)
