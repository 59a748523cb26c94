"""Bases and hallucinators that images are made of, and the SGD that moves them (Liu et al. 2022).

In `state.method`: `bases` and the tensors of all hallucinators (`bilp.images.hallucinations`), of each the momentum of SGD,
`NAME_momentum`; and the extractor's parameters as one vector, `extractor` `[P]`, with their momentum. Bases begin as images of the
run's beginning, scale and shift as 1 and 0, convolutions as PyTorch's layers do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form
from bilp.config import DistillConfig
from bilp.config.methods.haba import base_shape, hallucinator_shapes, unfit
from bilp.config.shapes import side_of
from bilp.data.pool import RealPool
from bilp.distill.step.state import DistillState
from bilp.errors import ConfigError
from bilp.images.hallucinations import BASES, HALLUCINATORS, rendered
from bilp.seeds import generator

FACTORS = (BASES, *HALLUCINATORS)
EXTRACTOR = "extractor"
VELOCITY = "_momentum"


class Hallucinations:
    """The bases and hallucinators of a state, whose images follow them."""

    def __init__(self, config: DistillConfig, state: DistillState) -> None:
        """Go on where `state` stands, or begin; its images and `method` change."""
        self._config, self._state, self._shape = config, state, tuple(state.images.shape[1:])
        if BASES not in state.method:
            begun = {BASES: first_bases(config, state.images), **initial_hallucinators(config, self._shape)}
            for name, value in begun.items():
                state.method[name] = value.to(state.images.device)
                state.method[name + VELOCITY] = torch.zeros_like(state.method[name])
            self._render()

    def step(self, gradient: Tensor) -> None:
        """A step of SGD on the gradient with respect to the images `[M, C, H, W]`, which follow."""
        config, tensors = self._config, self._state.method
        leaves = [tensors[name].detach().requires_grad_() for name in FACTORS]
        with torch.enable_grad():
            images = rendered(dict(zip(FACTORS, leaves, strict=True)), self._shape)
        for name, own in zip(FACTORS, torch.autograd.grad(images, leaves, gradient), strict=True):
            velocity = tensors[name + VELOCITY].mul_(config.hallucinators.momentum).add_(own)
            rate = config.learning_rate if name == BASES else config.hallucinators.learning_rate
            tensors[name].sub_(rate * velocity)
        self._render()

    @torch.no_grad()
    def _render(self) -> None:
        self._state.images.copy_(rendered(self._state.method, self._shape))


def first_bases(config: DistillConfig, images: Tensor) -> Tensor:
    """Of each class the first images `[M, C, H, W]` of the beginning, or the means of their channels, as many as there are bases."""
    bases = config.ipc // config.hallucinators.count
    chosen: Tensor = images.unflatten(0, (-1, config.ipc))[:, :bases].flatten(0, 1)
    return chosen.mean(dim=-3, keepdim=True) if config.hallucinators.gray else chosen.clone()


def initial_hallucinators(config: DistillConfig, shape: Sequence[int]) -> dict[str, Tensor]:
    """Convolutions are uniform within 1 / sqrt(fan in), where that of a transposed one counts its outputs, as PyTorch has it."""
    shapes, found = hallucinator_shapes(config, shape), {}
    for name, form in shapes.items():
        if name in ("inner_scale", "inner_shift"):
            found[name] = torch.full(form, 1.0 if name == "inner_scale" else 0.0)
        else:
            kernel = shapes[name.removesuffix("_bias")]
            bound = 1.0 / math.sqrt(math.prod(kernel[2:]))
            found[name] = torch.empty(form).uniform_(-bound, bound, generator=generator(config.seed, "initial_hallucinators", name))
    return found


def factor_forms(config: DistillConfig, parameters: int, images: Sequence[int]) -> dict[str, Form]:
    """Types and shapes of all of these, for a network of so many parameters and images of shape `[M, C, H, W]`."""
    count, *rest = images
    shapes = {BASES: (count // config.hallucinators.count, *base_shape(config, rest)), **hallucinator_shapes(config, rest)}
    shapes[EXTRACTOR] = (parameters,)
    return {name + suffix: (torch.float32, form) for name, form in shapes.items() for suffix in ("", VELOCITY)}


def require_images(pool: RealPool, config: DistillConfig) -> None:
    """Raise ConfigError where ipc is no multiple of the hallucinators, images are smaller than their kernels, or batch norm would learn."""
    own, side = config.hallucinators, min(side_of(pool.dataset.shape))
    if told := unfit(config):
        raise ConfigError(told)
    if side < own.kernel:
        raise ConfigError(f"images of {side} pixels are smaller than kernels of {own.kernel}: lower distill.hallucinators.kernel")
