"""Gradients of a convolution's kernel from maps whose channels lie last, as a GPU's convolutions may return them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bilp.matching.convolution import ConvolutionLayer

WAYS: dict[str, Callable[[ConvolutionLayer, Tensor, Tensor], Tensor]] = {
    "one class": lambda layer, node, gradient: layer.summed(node, gradient, 1)[0],
    "three classes": lambda layer, node, gradient: layer.summed(node, gradient, 3)[0],
    "samples as groups": lambda layer, node, gradient: layer.outer_by_groups(node, gradient),
    "windows": lambda layer, node, gradient: layer.outer_by_windows(node, gradient),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_layout_changes_no_gradient(way: str, layout: torch.memory_format) -> None:
    node, gradient = torch.randn(6, 3, 8, 8), torch.randn(6, 4, 8, 8)
    module = nn.Conv2d(3, 4, 3, padding=1, bias=False).to(memory_format=layout)
    layer = ConvolutionLayer(module)
    found = WAYS[way](layer, node.to(memory_format=layout), gradient.to(memory_format=layout))
    each = torch.stack([_by_autograd(module, *pair) for pair in zip(node, gradient, strict=True)])
    number = {"one class": 1, "three classes": 3}.get(way, len(node))
    torch.testing.assert_close(found, each.unflatten(0, (number, -1)).sum(1).flatten(2), rtol=1e-4, atol=1e-4)


def _by_autograd(module: nn.Conv2d, node: Tensor, gradient: Tensor) -> Tensor:
    return torch.autograd.grad(module(node[None]), module.weight, gradient[None])[0]
