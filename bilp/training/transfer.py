"""Small tensors of the host reach a device in one copy that waits for nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

# Bytes at multiples of which a tensor begins, so that every type may lie there.
ALIGNMENT = 16

Drawn = TypeVar("Drawn")
Change = Callable[[Tensor], Tensor]


def to_device(values: Sequence[Tensor], device: torch.device | str) -> list[Tensor]:
    """The same tensors on a device, as parts of one piece of its memory; themselves on a CPU."""
    device = torch.device(device)
    if device.type == "cpu" or not values:
        return list(values)
    starts, size = [], 0
    for value in values:
        starts.append(size)
        size += -(-value.nbytes // ALIGNMENT) * ALIGNMENT
    packed = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for start, value in zip(starts, values, strict=True):
        packed[start : start + value.nbytes].copy_(value.reshape(-1).view(torch.uint8))
    there = packed.to(device, non_blocking=True)
    return [
        there[start : start + value.nbytes].view(value.dtype).view(value.shape) for start, value in zip(starts, values, strict=True)
    ]


def moved(drawn: Sequence[Drawn], changed: Callable[[Drawn, Change], Drawn], device: torch.device | str) -> list[Drawn]:
    """Things that hold tensors, with these on a device, in one copy.

    Args:
        drawn: The things.
        changed: From one of them and a function to the same thing with the function's results in the places of its tensors.
        device: Where the tensors are wanted.
    """
    if torch.device(device).type == "cpu":
        return list(drawn)
    values: list[Tensor] = []

    def noted(value: Tensor) -> Tensor:
        values.append(value)
        return value

    for each in drawn:
        changed(each, noted)
    there = iter(to_device(values, device))
    return [changed(each, lambda value: next(there)) for each in drawn]
