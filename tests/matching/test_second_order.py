"""Cheap second derivatives of convolution and group norm against PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bilp.matching.second_order import convolve, normalize_groups
from bilp.seeds import generator

CONVOLUTIONS = {
    "plain": {"kernel_size": 3, "padding": 1},
    "no_bias": {"kernel_size": 3, "bias": False},
    "stride": {"kernel_size": 3, "stride": 2, "padding": 1},
    "uneven_stride": {"kernel_size": 2, "stride": (3, 2)},
    "dilation": {"kernel_size": 3, "dilation": 2, "padding": 2},
    "groups": {"kernel_size": 3, "groups": 2, "padding": 1},
    "rectangle": {"kernel_size": (1, 3), "padding": (0, 2)},
}


def randomize(layer: nn.Module, stream: torch.Generator) -> nn.Module:
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=stream, dtype=torch.float64)
    return layer


def derivatives(function: Callable[[Tensor], Tensor], images: Tensor, stream: torch.Generator) -> list[Tensor]:
    """Value, derivative, and both derivatives of the derivative, for random cotangents."""
    x = images.clone().requires_grad_()
    y = function(x)
    gradient = torch.randn(y.shape, generator=stream, dtype=y.dtype).requires_grad_()
    (first,) = torch.autograd.grad(y, x, gradient, create_graph=True)
    cotangent = torch.randn(first.shape, generator=stream, dtype=y.dtype)
    second = torch.autograd.grad(first, (x, gradient), cotangent, materialize_grads=True)
    return [y, first, *second]


@pytest.mark.parametrize("geometry", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_convolution(geometry: dict[str, int]) -> None:
    stream = generator(3, "conv")
    layer = randomize(nn.Conv2d(4, 6, **geometry), stream)
    images = torch.randn(3, 4, 7, 8, generator=stream, dtype=torch.float64)
    found = derivatives(lambda x: convolve(x, layer), images, generator(3, "cotangents"))
    wanted = derivatives(layer, images, generator(3, "cotangents"))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("groups", "affine"), [(6, True), (3, True), (1, True), (2, False)])
def test_group_norm(groups: int, affine: bool) -> None:
    stream = generator(4, "norm", groups)
    layer = randomize(nn.GroupNorm(groups, 6, affine=affine), stream)
    maps = torch.randn(3, 6, 4, 5, generator=stream, dtype=torch.float64) * 2.0 + 1.5
    found = derivatives(lambda x: normalize_groups(x, layer), maps, generator(4, "cotangents"))
    wanted = derivatives(layer, maps, generator(4, "cotangents"))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_parameters_are_constants() -> None:
    layer = nn.Conv2d(2, 2, 3).requires_grad_(True)
    images = torch.randn(1, 2, 5, 5, generator=generator(5, "x")).requires_grad_()
    convolve(images, layer).sum().backward()
    assert layer.weight.grad is None
    assert images.grad is not None
