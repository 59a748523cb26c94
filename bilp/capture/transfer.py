"""Small tensors of the host reach a device in one copy that waits for nobody."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Bytes at multiples of which a tensor begins, so that every type may lie there.
ALIGNMENT = 16


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
    return [there[start : start + value.nbytes].view(value.dtype).view(value.shape) for start, value in zip(starts, values, strict=True)]
