"""Optimizers whose steps a device can replay: everything that changes between two steps lies in tensors that stay where they are."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer


def sgd(parameters: Iterable[Tensor], learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0) -> torch.optim.SGD:
    """SGD: one kernel for all parameters on a GPU, and on a CPU the form whose rounding the stored results have."""
    held = list(parameters)
    fused = True if held[0].device.type == "cuda" else None
    return torch.optim.SGD(held, lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=fused)


def keep_in_place(optimizer: Optimizer, device: torch.device) -> None:
    """The step size becomes a number on the device, of which `set_rate` changes the value."""
    for group in optimizer.param_groups:
        group["lr"] = torch.full((), group["lr"], device=device)
    vars(optimizer)["_warned_capturable_if_run_uncaptured"] = True  # PyTorch would complain of the steps that warm up


def stays_in_place(optimizer: Optimizer) -> bool:
    """Whether `keep_in_place` was asked for."""
    return isinstance(optimizer.param_groups[0]["lr"], Tensor)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Another step size, for all parameters."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def forget(optimizer: Optimizer) -> None:
    """Momentum, second moments and the count of steps become zero, in place: what follows is what a new optimizer would do."""
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                value.zero_()
