"""Products with the Jacobian, one image at a time: forward differentiation against differentiating twice, and against J^T."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from test_per_sample import FAST, GENERIC, SIDE, batch
from torch import nn

from bilp.config import NetworkConfig
from bilp.matching import FeatureMatching, GradientMatching, Matching
from bilp.matching.jacobian import generic_pushforward
from bilp.matching.pushforward import gradient_pushforward
from bilp.matching.recording import matched_parameters
from bilp.nets import build, initialize
from bilp.seeds import generator

BOTH = pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])


def assert_equal_pushforwards(matching: Matching, network: nn.Module, count: int, images: int) -> None:
    points, labels = batch(images)
    tangents = torch.randn(count, *points.shape, generator=generator(45, "tangents"))
    found = matching.pushforward(network, points, labels, tangents)
    wanted = generic_pushforward(lambda x: matching.synthetic(network, x, labels), points, tangents)
    psi = matching.synthetic(network, points, labels)
    for a, b, block in zip(found, wanted, psi, strict=True):
        assert a.shape == (count, images, *block.shape)
        assert not a.requires_grad
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()) + 1e-12)


@pytest.mark.parametrize("make", FAST.values(), ids=FAST.keys())
def test_gradients_of_every_layer(make: Callable[[], nn.Module]) -> None:
    network = make()
    points, labels = batch(2)
    assert gradient_pushforward(network, points, labels, matched_parameters(network), torch.ones(1, *points.shape)) is not None
    assert_equal_pushforwards(GradientMatching("dc"), network, 2, 3)


@pytest.mark.parametrize("make", GENERIC.values(), ids=GENERIC.keys())
def test_gradients_of_other_layers_take_the_generic_path(make: Callable[[], nn.Module]) -> None:
    network = make()
    points, labels = batch(2)
    assert gradient_pushforward(network, points, labels, matched_parameters(network), torch.ones(1, *points.shape)) is None
    assert_equal_pushforwards(GradientMatching("dc"), network, 2, 2)


@BOTH
@pytest.mark.parametrize(("count", "images"), [(1, 1), (40, 1), (7, 5), (2, 35)])
def test_more_directions_than_one_pass_holds(matching: Matching, count: int, images: int) -> None:
    network = build(NetworkConfig(width=8, depth=2), (3, SIDE, SIDE), 4)
    initialize(network, generator(45, "passes"))
    assert_equal_pushforwards(matching, network, count, images)


@BOTH
def test_it_is_the_transpose_of_the_pullback(matching: Matching) -> None:
    network = build(NetworkConfig(width=8, depth=2, activation="swish"), (3, SIDE, SIDE), 4)
    initialize(network, generator(46, "transpose"))
    points, labels = batch(3)
    tangents = torch.randn(4, *points.shape, generator=generator(46, "tangents"))
    pull = matching.pullback(network, points, labels, 1, 2**26)
    cotangents = tuple(torch.randn(1, *block.shape, generator=generator(46, "c")) for block in matching.real_mean(network, points, labels))
    wanted = (pull(tuple(c[None] for c in cotangents))[:, 0] * tangents).flatten(2).sum(dim=2)
    pushed = matching.pushforward(network, points, labels, tangents)
    found = torch.stack([(c * block).flatten(2).sum(dim=2) for c, block in zip(cotangents, pushed, strict=True)]).sum(dim=0)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


class Dead(nn.Module):
    """Does not depend on its images."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(2, 4)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :2] * 0.0 + 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.embed(images))


@BOTH
def test_nothing_moves_where_nothing_depends_on_the_images(matching: Matching) -> None:
    points, labels = batch(2)
    for block in matching.pushforward(Dead(), points, labels, torch.ones(3, *points.shape)):
        assert torch.equal(block, torch.zeros_like(block))
