"""CAFE's alignment and discrimination against the paper's formula written out, and the causal effect under it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.causal import ClassBatch, EffectSettings, effects
from bilp.config import AlignmentConfig, NetworkConfig
from bilp.matching import matching_for
from bilp.matching.alignment import AlignmentMatching, discrimination, feature_maps
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SHAPE, CLASSES = (3, 16, 16), 4
CAFE = AlignmentMatching()


def network(dtype: torch.dtype = torch.float32, **settings: object) -> Network:
    config = NetworkConfig.model_validate({"width": 8} | settings)
    built = build(config, SHAPE, CLASSES)
    initialize(built, generator(71, config.name))
    return built.to(dtype)


def draw(count: int, name: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    drawn = torch.randn(count, *SHAPE, generator=generator(71, name), dtype=torch.float64)
    return drawn.to(dtype), torch.full((count,), 2)


def papers_features(net: Network, batch: Tensor) -> list[Tensor]:
    """f1 to f5 of a ConvNet of three blocks: after each block's ReLU before pooling, after the last pooling, and that one flat."""
    seen: list[Tensor] = []
    hooks = [m.register_forward_hook(lambda *call: seen.append(call[2])) for m in net.modules() if isinstance(m, nn.ReLU)]
    pools = [m for m in net.modules() if isinstance(m, nn.AvgPool2d)]
    hooks.append(pools[-1].register_forward_hook(lambda *call: seen.append(call[2])))
    flat = net.embed(batch)
    for hook in hooks:
        hook.remove()
    assert [f.shape[1:] for f in seen] == [(8, 16, 16), (8, 8, 8), (8, 4, 4), (8, 2, 2)]
    return [*seen, flat]


@pytest.mark.parametrize("ipc", [1, 3])
def test_distance_is_the_papers(ipc: int) -> None:
    net, (real, real_labels), (synthetic, labels) = network(), draw(40, "real"), draw(ipc, "synthetic")
    wanted = torch.zeros(())
    for weight, a, b in zip((0.1, 0.1, 1.0, 1.0, 1.0), papers_features(net, real), papers_features(net, synthetic), strict=True):
        wanted = wanted + weight * (a.mean(0) - b.mean(0)).square().sum()
    found = CAFE.distance(CAFE.real_mean(net, real, real_labels), CAFE.synthetic(net, synthetic, labels))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({"depth": 2}, 3),
        ({"pooling": "none"}, 4),
        ({"name": "mlp"}, 3),
        ({"name": "resnet18"}, 10),
        ({"name": "lenet"}, 5),
        ({"norm": "batch"}, 4),
    ],
)
def test_every_network_has_layers_and_effects_equal_leaving_one_out(settings: dict[str, object], layers: int) -> None:
    net = network(**settings)
    CAFE.freeze_statistics(net, draw(12, "statistics")[0])
    real, synthetic = draw(4, "real"), draw(2, "synthetic")
    maps = feature_maps(net, real[0])
    assert len(maps) == layers == len(CAFE.weights(layers))
    assert torch.equal(maps[-1], net.embed(real[0]))
    found, wanted = (
        torch.cat(list(effects(CAFE, net, ClassBatch(real, synthetic), EffectSettings(kind)))) for kind in ("cotangent", "oracle")
    )
    assert found.shape == (4, 2, *SHAPE)
    assert float(((found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)).max()) < 1e-3


def test_effects_sum_to_zero() -> None:
    net = network(torch.float64)
    found = torch.cat(list(effects(CAFE, net, ClassBatch(draw(9, "real", torch.float64), draw(2, "synthetic", torch.float64)))))
    assert float(found.sum(0).norm()) < 1e-10 * float(found.flatten(1).norm(dim=1).sum())


def test_mean_vector_is_the_mean_of_vectors_whatever_the_micro_batches() -> None:
    net, (real, labels) = network(), draw(70, "real")
    mean, embeddings = CAFE.mean_and_embeddings(net, real, labels)
    for one, each in zip(mean, CAFE.real(net, real, labels), strict=True):
        torch.testing.assert_close(one, each.mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(embeddings, net.embed(real).detach(), rtol=1e-4, atol=1e-6)


def test_cotangent_is_the_derivative_of_the_distance() -> None:
    net = network(torch.float64)
    mean = CAFE.real_mean(net, *draw(5, "real", torch.float64))
    psi = tuple(block.detach().requires_grad_() for block in CAFE.synthetic(net, *draw(2, "synthetic", torch.float64)))
    wanted = torch.autograd.grad(CAFE.distance(mean, psi), psi)
    for found, right in zip(CAFE.cotangent(mean, psi), wanted, strict=True):
        torch.testing.assert_close(found, right)


def test_weights_come_from_the_configuration() -> None:
    weighed = matching_for("cafe", alignment=AlignmentConfig(shallow_weight=0.0, deep_weight=3.0))
    assert isinstance(weighed, AlignmentMatching)
    assert weighed.weights(4) == [0.0, 0.0, 3.0, 6.0]
    assert weighed.weights(1) == [6.0]


def test_gradient_of_the_synthetic_images_by_finite_differences() -> None:
    net = network(torch.float64, activation="swish")
    mean, (points, labels) = CAFE.real_mean(net, *draw(5, "real", torch.float64)), draw(2, "synthetic", torch.float64)
    leaf = points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(CAFE.distance(mean, CAFE.synthetic(net, leaf, labels)), leaf)
    for k in range(3):
        step = 1e-5 * torch.randn(points.shape, generator=generator(71, "direction", k), dtype=torch.float64)
        ahead, behind = (CAFE.distance(mean, CAFE.synthetic(net, points + s * step, labels)).item() for s in (1, -1))
        assert float((gradient * step).sum()) == pytest.approx((ahead - behind) / 2, rel=1e-4)


def test_discrimination_is_a_sum_over_real_samples_with_the_derivative_by_the_centers() -> None:
    stream = generator(71, "discrimination")
    real, centers = (torch.randn(n, 6, generator=stream, dtype=torch.float64) for n in (7, 3))
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    leaf = centers.clone().requires_grad_()
    wanted = functional.cross_entropy(real @ leaf.T, labels, reduction="none").sum()
    loss, centers_grad = discrimination(real, labels, centers)
    torch.testing.assert_close(loss, wanted.detach())
    torch.testing.assert_close(centers_grad, torch.autograd.grad(wanted, leaf)[0])
