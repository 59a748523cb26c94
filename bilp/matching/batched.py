"""The derivative for many cotangents: in one pass where PyTorch can, one after the other where it cannot.

PyTorch 2.11 cannot differentiate group norm so: its second derivative mixes up the dimensions, and maps that lie channels last are
refused.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import group_norm


def batched_gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """For k cotangents `[k, ...]` of every output the derivative `[k, ...]` of every input, zero where there is none.

    The graph is kept.
    """
    if _in_one_pass():
        found = torch.autograd.grad(outputs, inputs, cotangents, retain_graph=True, is_grads_batched=True, materialize_grads=True)
        # The zeros that PyTorch puts in come without the leading axis.
        lanes = len(cotangents[0])
        return tuple(
            block if block.dim() > given.dim() else block.expand(lanes, *block.shape) for block, given in zip(found, inputs, strict=True)
        )
    rows = [torch.autograd.grad(outputs, inputs, own, retain_graph=True, materialize_grads=True) for own in zip(*cotangents, strict=True)]
    return tuple(torch.stack(blocks) for blocks in zip(*rows, strict=True))


@functools.cache
def _in_one_pass() -> bool:
    """Whether this PyTorch can: tried with both derivatives of group norm and both layouts of its maps."""
    for layout in (torch.contiguous_format, torch.channels_last):
        maps = torch.arange(36.0).reshape(1, 4, 3, 3).contiguous(memory_format=layout).requires_grad_()
        with torch.enable_grad():
            values = group_norm(maps, 2)
            (gradient,) = torch.autograd.grad(values.square().sum(), maps, create_graph=True)
        for output in (values, gradient):
            try:
                torch.autograd.grad(output, maps, torch.ones(2, *maps.shape), retain_graph=True, is_grads_batched=True)
            except RuntimeError:
                return False
    return True
