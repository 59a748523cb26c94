"""Fresh parameters from a named random stream, in PyTorch's default distributions or those of a network's own program.

Distillation draws a new network every iteration. Filling a reused module is much cheaper than building one, and a
generator instead of the global random state makes the network a function of the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bilp.nets.network import Network

Draw = Callable[[Tensor, torch.Generator], Tensor]
"""Fills a tensor in place."""


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """Redraw every parameter in place, and reset batch norm's running statistics.

    Weights of convolutions and linear layers come from Kaiming's uniform distribution with a = sqrt(5), biases from
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (both have this bound); normalizations get scale 1 and bias 0. The numbers are
    drawn on the generator's device and then copied, so a network has the same parameters on any device if the
    generator lives on the CPU. They equal what the layers' constructors would have drawn from the same state.
    Where `network.initial_weights` is fan_out, weights of convolutions come from N(0, 2 / (k^2 out)) instead (He et al. 2015).
    Train or eval mode and requires_grad are left alone. Raises TypeError for a layer that it does not know.
    """
    fan_out = isinstance(network, Network) and network.initial_weights == "fan_out"
    drawn: list[tuple[Tensor, Draw]] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            draw = _uniform(1.0 / math.sqrt(module.weight[0].numel()))
            own = _normal(math.sqrt(2.0 / module.weight[:, 0].numel())) if fan_out and not isinstance(module, nn.Linear) else draw
            drawn += [(module.weight, own)] if module.bias is None else [(module.weight, own), (module.bias, draw)]
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
            module.reset_parameters()  # constants; no random number is drawn
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"cannot initialize {type(module).__name__}: add its default distribution to bilp.nets.initialization")
    if drawn:
        _fill(drawn, generator)


def _uniform(bound: float) -> Draw:
    return lambda values, generator: values.uniform_(-bound, bound, generator=generator)


def _normal(spread: float) -> Draw:
    return lambda values, generator: values.normal_(0.0, spread, generator=generator)


def _fill(tensors: list[tuple[Tensor, Draw]], generator: torch.Generator) -> None:
    """Draw each tensor; one transfer moves all of them if they live on another device."""
    sizes = [tensor.numel() for tensor, _ in tensors]
    target = tensors[0][0]
    values = torch.empty(sum(sizes), dtype=torch.float32, device=generator.device)
    for part, (_, draw) in zip(values.split(sizes), tensors, strict=True):
        draw(part, generator)
    for part, (tensor, _) in zip(values.to(target.device).split(sizes), tensors, strict=True):
        tensor.copy_(part.view(tensor.shape))
