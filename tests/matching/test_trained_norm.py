"""Group norm in closed form against PyTorch's own, with derivatives of both orders."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bilp.config import NetworkConfig
from bilp.matching.trained_norm import TrainedGroupNorm, with_cheap_norms
from bilp.nets import build, initialize
from bilp.seeds import generator

# Groups and the shape of the maps: instance norm, several channels in a group, one group; in space.
SHAPES = [(4, (3, 4, 5, 2)), (2, (3, 6, 4, 4)), (1, (2, 4, 3, 3)), (2, (2, 4, 2, 3, 2))]


def both(groups: int, channels: int) -> tuple[nn.GroupNorm, TrainedGroupNorm]:
    """The same layer twice, with random scale and bias."""
    own, cheap = nn.GroupNorm(groups, channels).double(), TrainedGroupNorm(groups, channels).double()
    for layer in (own, cheap):
        stream = generator(3, "norm", groups)
        with torch.no_grad():
            layer.weight.normal_(generator=stream)
            layer.bias.normal_(generator=stream)
    return own, cheap


@pytest.mark.parametrize(("groups", "shape"), SHAPES, ids=str)
def test_results_and_derivatives_of_both_orders_are_those_of_pytorch(groups: int, shape: tuple[int, ...]) -> None:
    drawn = [torch.randn(shape, generator=generator(3, name), dtype=torch.float64) for name in ("maps", "gradient", "direction")]
    along = [torch.randn(shape[1], generator=generator(3, name), dtype=torch.float64) for name in ("of weight", "of bias")]
    found: list[list[Tensor]] = []
    for layer in both(groups, shape[1]):
        maps, gradient = (value.clone().requires_grad_() for value in drawn[:2])
        result = layer(maps)
        first = torch.autograd.grad(result, [maps, layer.weight, layer.bias], gradient, create_graph=True)
        second = torch.autograd.grad(first, [maps, gradient, layer.weight], [drawn[2], *along])
        found.append([result, *first, *second])
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-10)
        assert value.abs().max() > 0


def test_a_network_has_them_in_place_of_its_own() -> None:
    net = build(NetworkConfig(width=4, depth=2), (1, 8, 8), 3)
    initialize(net, generator(3, "network"))
    cheap = with_cheap_norms(net)
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in cheap.named_parameters()]
    assert sum(isinstance(layer, TrainedGroupNorm) for layer in cheap.modules()) == 2
    assert not any(isinstance(layer, TrainedGroupNorm) for layer in net.modules())
    images = torch.randn(2, 1, 8, 8, generator=generator(3, "images"))
    torch.testing.assert_close(cheap(images), net(images))
