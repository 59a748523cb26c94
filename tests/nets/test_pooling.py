"""Average pooling by a matrix product against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import vmap

from bilp.nets.pooling import WIDEST, AveragePool
from bilp.seeds import generator


@pytest.mark.parametrize(
    ("size", "shape"),
    [(2, (3, 5, 8, 8)), (2, (2, 4, 6, 10)), (3, (2, 3, 9, 6)), (2, (2, 3, 7, 8)), (2, (1, 1, 4, WIDEST + 2)), (8, (2, 3, 8, 8))],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_means_and_both_derivatives_are_those_of_pytorch(size: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    stream = generator(3, "pool", size, *shape)
    maps = torch.randn(shape, generator=stream, dtype=dtype)
    found = []
    for layer in (AveragePool(size, size), nn.AvgPool2d(size, size)):
        points = maps.clone().requires_grad_()
        pooled = layer(points)
        weights = torch.ones_like(pooled).requires_grad_()
        (first,) = torch.autograd.grad((pooled.square() * weights).sum(), points, create_graph=True)
        found.append((pooled, first, *torch.autograd.grad(first.square().sum(), [points, weights])))
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


def test_it_may_be_mapped_over_samples_and_used_after_inference_mode() -> None:
    maps = torch.randn(4, 2, 14, 14, generator=generator(4, "pool"))
    with torch.inference_mode():
        wanted = AveragePool(2, 2)(maps)
    torch.testing.assert_close(vmap(AveragePool(2, 2))(maps), wanted.clone())
    points = maps.clone().requires_grad_()
    AveragePool(2, 2)(points).sum().backward()
    assert points.grad is not None
    torch.testing.assert_close(points.grad, torch.full_like(maps, 0.25))
