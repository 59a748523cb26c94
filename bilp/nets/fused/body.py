"""Layers in a row that run norm, ReLU and pooling as one operation wherever nobody watches what lies between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from bilp.nets.fused.operation import norm_relu_pool
from bilp.nets.pooling import AveragePool

NUMBERS = (torch.float32, torch.bfloat16, torch.float16)
"""Types of maps that the kernels read."""


@dataclass(frozen=True)
class Block:
    """What follows a convolution, or anything else, and is computed at once."""

    norm: nn.GroupNorm
    activation: nn.ReLU
    pool: AveragePool | None

    @property
    def window(self) -> int:
        """Side of the squares over which is averaged."""
        return 1 if self.pool is None else self.pool.side

    @property
    def modules(self) -> list[nn.Module]:
        """What stands for itself where it cannot be computed at once."""
        return [module for module in (self.norm, self.activation, self.pool) if module is not None]

    def usable(self, maps: Tensor) -> bool:
        """Whether nobody watches one of its modules, and no derivative in forward mode, which the operation lacks, is asked for."""
        return maps.dtype in NUMBERS and not any(map(_watched, self.modules)) and forward_ad.unpack_dual(maps).tangent is None


class FusedBody(nn.Sequential):
    """The modules of an nn.Sequential, the very same, so that their parameters keep their names.

    Each run of instance norm, ReLU and, where there is one, average pooling is one operation (`operation.norm_relu_pool`). A
    convolution before it leaves out its bias, which the norm would subtract again: that bias has a gradient of 0. Modules with
    hooks of their own, such as matching puts on them, are run one by one.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """`[B, C, H, W]`; the values of the modules one after the other but for rounding."""
        modules, place = list(self), 0
        while place < len(modules):
            module = modules[place]
            if isinstance(module, nn.Conv2d) and (block := block_at(modules, place + 1)) is not None and block.usable(maps):
                with _without_bias(module) as left_out:
                    maps = _run(block, module(maps), left_out)
                place += 1 + len(block.modules)
            elif (block := block_at(modules, place)) is not None and block.usable(maps):
                maps = _run(block, maps, None)
                place += len(block.modules)
            else:
                maps = module(maps)
                place += 1
        return maps


def fuse(network: nn.Module) -> None:
    """Put a `FusedBody` in the place of every nn.Sequential below `network` in which there is something to be computed at once."""
    for name, child in list(network.named_children()):
        fuse(child)
        if type(child) is nn.Sequential and any(block_at(list(child), place) for place in range(len(child))):
            setattr(network, name, FusedBody(*child))


def block_at(modules: list[nn.Module], place: int) -> Block | None:
    """What begins at this place and can be computed at once."""
    norm, activation, pool = (modules[place : place + 3] + [None] * 3)[:3]
    if type(norm) is not nn.GroupNorm or norm.num_groups != norm.num_channels or not norm.affine or type(activation) is not nn.ReLU:
        return None
    return Block(norm, activation, pool if type(pool) is AveragePool and pool.side else None)


def _run(block: Block, maps: Tensor, left_out: Tensor | None) -> Tensor:
    return norm_relu_pool(maps, block.norm.weight, block.norm.bias, block.window, block.norm.eps, left_out)


def _watched(module: nn.Module) -> bool:
    """Whether calling it does more than its class says."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


@contextmanager
def _without_bias(layer: nn.Conv2d) -> Iterator[Tensor | None]:
    """Inside, the convolution has no bias; yields the one that it had. A bias that is no parameter of its own stays."""
    bias = layer.bias
    if not isinstance(bias, nn.Parameter):
        yield None
        return
    layer.bias = None
    try:
        yield bias
    finally:
        layer.bias = bias
