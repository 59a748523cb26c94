"""Feature and gradient matching as wholes: means, derivatives, frozen statistics, refusals."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from bilp.config import METHODS as ENTRIES
from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.matching import FeatureMatching, GradientMatching, Matching, matching_for
from bilp.matching.layer_statistics import StatisticsMatching
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

Norm = Literal["instance", "batch", "layer", "group", "none"]
METHODS = [matching_for("dm"), matching_for("dc")]
IDS = ["dm", "dc"]


def network(norm: Norm = "instance", width: int = 8) -> Network:
    built = build(NetworkConfig(width=width, depth=2, norm=norm), (3, 8, 8), 4)
    initialize(built, generator(31, norm))
    return built


def draw(count: int, name: str = "images") -> tuple[Tensor, Tensor]:
    stream = generator(31, name)
    return torch.randn(count, 3, 8, 8, generator=stream), torch.randint(4, (count,), generator=stream)


def test_matching_for_every_method() -> None:
    assert isinstance(matching_for("dm"), FeatureMatching)
    for method in ("dc", "dsa"):
        found = matching_for(method)
        assert isinstance(found, GradientMatching)
        assert found.name == method


@pytest.mark.parametrize("matching", METHODS, ids=IDS)
@pytest.mark.parametrize("count", [1, 5, 32, 71])  # one sample, one micro-batch, several with a short last one
def test_real_mean_is_the_mean_of_real(matching: Matching, count: int) -> None:
    images, labels = draw(count)
    net = network()
    for mean, each in zip(matching.real_mean(net, images, labels), matching.real(net, images, labels), strict=True):
        assert not mean.requires_grad
        torch.testing.assert_close(mean, each.mean(dim=0), rtol=1e-4, atol=1e-6)


WEIGHING = [
    matching_for(name, **{field: model() for field, model in ENTRIES[name].settings.items()}) for name in ENTRIES if ENTRIES[name].weighs
]


@pytest.mark.parametrize("matching", WEIGHING, ids=lambda matching: matching.name)
@pytest.mark.parametrize("count", [5, 71])
def test_a_weighted_mean_is_the_weighted_sum_of_real(matching: Matching, count: int) -> None:
    images, labels = draw(count)
    net, weights = network(), torch.rand(count, generator=generator(31, "weights"))
    if isinstance(matching, StatisticsMatching):  # which are those of what enters batch norm
        net = network("batch")
        matching.freeze_statistics(net, images)
    slow = [
        sum(w * row for w, row in zip(weights.tolist(), each, strict=True)) / float(weights.sum())
        for each in matching.real(net, images, labels)
    ]
    for mean, wanted in zip(matching.weighted_mean(net, images, labels, weights), slow, strict=True):
        assert not mean.requires_grad
        torch.testing.assert_close(mean, wanted, rtol=1e-4, atol=1e-6)
    equal = matching.weighted_mean(net, images, labels, torch.full((count,), 0.3))
    assert all(torch.equal(a, b) for a, b in zip(equal, matching.real_mean(net, images, labels), strict=True))


@pytest.mark.parametrize("weights", [[1.0, -1.0, 1.0], [0.0] * 3, [1.0] * 4, [1.0, float("inf"), 1.0]])
def test_weights_that_have_no_sum_are_refused(weights: list[float]) -> None:
    for matching in METHODS:
        with pytest.raises(ConfigError, match="as many weights"):
            matching.weighted_mean(network(), *draw(3), torch.tensor(weights))


@pytest.mark.parametrize("matching", METHODS, ids=IDS)
def test_synthetic_is_the_mean_of_real_at_the_same_images(matching: Matching) -> None:
    images, labels = draw(3)
    net = network("layer")
    for psi, mean in zip(matching.synthetic(net, images, labels), matching.real_mean(net, images, labels), strict=True):
        torch.testing.assert_close(psi.detach(), mean, rtol=1e-4, atol=1e-6)


def test_gradient_blocks_leave_out_vectors() -> None:
    images, labels = draw(2)
    net = network("layer")
    blocks = GradientMatching("dc").real_mean(net, images, labels)
    matched = [p for p in net.parameters() if p.dim() >= 2]  # 2 kernels, 2 layer norms with maps as scale and bias, classifier
    assert len(matched) == 7
    assert [block.shape for block in blocks] == [(len(p), p[0].numel()) for p in matched]


@pytest.mark.parametrize("matching", METHODS, ids=IDS)
def test_gradient_of_the_synthetic_images_by_finite_differences(matching: Matching) -> None:
    built = build(NetworkConfig(width=4, depth=2, activation="swish"), (3, 8, 8), 4)
    initialize(built, generator(32, "swish"))
    net = built.double()
    images, labels = (draw(3)[0].double(), draw(3)[1])
    mean = matching.real_mean(net, *(part[:2] for part in (images, labels)))
    points = images[2:].clone().requires_grad_()
    point_labels = labels[2:]

    def loss(x: Tensor) -> Tensor:
        return matching.distance(mean, matching.synthetic(net, x, point_labels))

    (gradient,) = torch.autograd.grad(loss(points), points)
    for k in range(4):
        direction = torch.randn(points.shape, generator=generator(32, "direction", k), dtype=torch.float64)
        step = 1e-5 * direction
        slope = (loss(points.detach() + step) - loss(points.detach() - step)).item() / 2e-5
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("matching", METHODS, ids=IDS)
def test_distance_of_a_batch_to_itself_is_nothing(matching: Matching) -> None:
    images, labels = draw(4)
    net = network()
    distance = matching.distance(matching.real_mean(net, images, labels), matching.synthetic(net, images, labels))
    rows = sum(len(p) for p in net.parameters() if p.dim() >= 2)
    assert abs(distance.item()) < 2e-3 * rows  # the constant in the cosine's denominator


@pytest.mark.parametrize("matching", METHODS, ids=IDS)
def test_frozen_statistics_are_those_of_the_images_whatever_came_before(matching: Matching) -> None:
    images, labels = draw(12)
    net = network("batch")
    with pytest.raises(ConfigError, match="training mode"):
        matching.real(net, images, labels)
    with torch.no_grad():
        net(draw(6, "history")[0] * 5.0 + 2.0)
    momentum = [m.momentum for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    matching.freeze_statistics(net, images)
    first = next(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    convolution = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    torch.testing.assert_close(first.running_mean, convolution(images).mean((0, 2, 3)).detach(), rtol=1e-4, atol=1e-5)
    assert net.training and not any(m.training for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert [m.momentum for m in net.modules() if isinstance(m, nn.BatchNorm2d)] == momentum
    alone = matching.real(net, images[3:4], labels[3:4])
    for one, many in zip(alone, matching.real(net, images, labels), strict=True):
        torch.testing.assert_close(one[0], many[3], rtol=1e-4, atol=1e-6)


def test_freezing_without_batch_norm_does_nothing() -> None:
    net = network("group")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    FeatureMatching().freeze_statistics(net, draw(3)[0])
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_refusals_say_what_to_do() -> None:
    images, labels = draw(3)
    net = network()
    for matching in METHODS:
        with pytest.raises(ConfigError, match="no image"):
            matching.real(net, images[:0], labels[:0])
        with pytest.raises(ConfigError, match="as many labels"):
            matching.real_mean(net, images, labels[:2])
    with pytest.raises(ConfigError, match="requires_grad_"):
        GradientMatching("dc").synthetic(net.requires_grad_(False), images, labels)
    untracked = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten(), nn.Linear(192, 4)).eval()
    with pytest.raises(ConfigError, match="no running statistics"):
        GradientMatching("dc").real(untracked, images, labels)
    with pytest.raises(ConfigError, match="no weight matrix"):
        GradientMatching("dc").real(nn.Flatten(), images, labels)
