"""Optimizers that PyTorch lacks, on tensors whose moments a state carries from round to round.

LAMB (You et al. 2020, algorithm 2, without weight decay): a step of Adam whose length is that of the tensor itself.
AdaBelief (Zhuang et al. 2020, algorithm 2): Adam whose second moment is that of how far gradients are from their mean.
Constants are those of the programs that methods took them from (optax and torch_optimizer).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form
from bilp.errors import DamagedArtifact

MEAN, SQUARE = "mean.", "square."
"""Names of a tensor's moments in a state, before its own."""
DECAYS = (0.9, 0.999)
LAMB_EPSILON = 1e-6
ADABELIEF_EPSILON = 1e-16

Step = Callable[[Tensor, Tensor, Tensor, Tensor, int, float], None]
"""A step in place on a tensor: of it, its gradient, its two moments, the steps before, and the step size."""


def begin(tensors: dict[str, Tensor], name: str, like: Tensor) -> None:
    """Moments of 0 for the tensor that is called `name`, unless there are some."""
    for prefix in (MEAN, SQUARE):
        tensors.setdefault(prefix + name, torch.zeros_like(like))


def step(update: Step, tensors: Mapping[str, Tensor], name: str, value: Tensor, gradient: Tensor, number: int, rate: float) -> None:
    """Step number `number`, from 0, of the tensor that is called `name`.

    Args:
        update: which optimizer.
        tensors: hold its moments, which change.
        name: of the tensor.
        value: the tensor, which changes.
        gradient: in its shape.
        number: steps that were made before.
        rate: the step size.
    """
    update(value, gradient.to(value.dtype), tensors[MEAN + name], tensors[SQUARE + name], number, rate)


@torch.no_grad()
def lamb(value: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, before: int, rate: float) -> None:
    """A step of LAMB (You et al. 2020): Adam's, by the length of the tensor relative to it, where both have one.

    Args:
        value: the tensor, which changes.
        gradient: in its shape.
        mean: first moment, which changes.
        square: second moment, likewise.
        before: steps that were made before.
        rate: the step size.
    """
    first, second = DECAYS
    mean.mul_(first).add_(gradient, alpha=1.0 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
    adam = mean / (1.0 - first ** (before + 1)) / ((square / (1.0 - second ** (before + 1))).sqrt() + LAMB_EPSILON)
    lengths = torch.linalg.vector_norm(value), torch.linalg.vector_norm(adam)
    trusted = torch.where((lengths[0] > 0) & (lengths[1] > 0), lengths[0] / lengths[1], 1.0)
    value.sub_(rate * trusted * adam)


@torch.no_grad()
def adabelief(value: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, before: int, rate: float) -> None:
    """A step of AdaBelief (Zhuang et al. 2020), whose second moment is that of the gradient's distance from its mean.

    The arguments are those of `lamb`.
    """
    first, second = DECAYS
    mean.mul_(first).add_(gradient, alpha=1.0 - first)
    apart = gradient - mean
    square.mul_(second).addcmul_(apart, apart, value=1.0 - second).add_(ADABELIEF_EPSILON)
    length = (square / (1.0 - second ** (before + 1))).sqrt() + ADABELIEF_EPSILON
    value.sub_(rate / (1.0 - first ** (before + 1)) * mean / length)


def forms(name: str, form: Form) -> dict[str, Form]:
    """Types and shapes of the moments of a tensor of this one."""
    return {MEAN + name: form, SQUARE + name: form}


def require_squares(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise DamagedArtifact, naming `where`, if a second moment is negative."""
    if not all(bool((value >= 0).all()) for name, value in tensors.items() if name.startswith(SQUARE)):
        raise DamagedArtifact(f"{where} holds squares that are negative: run the round again")
