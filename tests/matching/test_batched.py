"""The derivative for many cotangents, both ways, whichever of them this PyTorch takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.matching import batched
from bilp.matching.batched import batched_gradients
from bilp.seeds import generator

EACH_WAY = pytest.mark.parametrize("one_pass", [True, False])


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(8, "batched"), dtype=torch.float64)


def one_by_one(output: Tensor, given: Tensor, cotangents: Tensor) -> Tensor:
    return torch.stack([torch.autograd.grad(output, given, cotangent, retain_graph=True)[0] for cotangent in cotangents])


@EACH_WAY
def test_several_outputs_and_inputs(one_pass: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "_in_one_pass", lambda: one_pass)
    a, b, unused = drawn(3).requires_grad_(), drawn(4, 3).requires_grad_(), drawn(2).requires_grad_()
    outputs = [b @ a, a.exp()]
    first, second, nothing = batched_gradients(outputs, [a, b, unused], [drawn(5, 4), drawn(5, 3)])
    assert (first.shape, second.shape) == ((5, 3), (5, 4, 3))
    torch.testing.assert_close(second, drawn(5, 4).unsqueeze(2) * a)
    torch.testing.assert_close(first, drawn(5, 4) @ b + drawn(5, 3) * a.exp())
    assert torch.equal(nothing, torch.zeros(5, 2, dtype=torch.float64))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm_whatever_this_pytorch_can(layout: torch.memory_format, groups: int) -> None:
    """First and second derivative in both layouts: what PyTorch 2.11 cannot do in one pass."""
    norm = nn.GroupNorm(groups, 4, dtype=torch.float64)
    maps = drawn(2, 4, 3, 5).contiguous(memory_format=layout).requires_grad_()
    values = functional.relu(norm(maps))
    (gradient,) = torch.autograd.grad(values.square().sum(), maps, create_graph=True)
    cotangents = drawn(3, 2, 4, 3, 5)
    for output in (values, gradient):
        torch.testing.assert_close(batched_gradients([output], [maps], [cotangents])[0], one_by_one(output, maps, cotangents))
