"""Values that the host chooses anew for each call of a step, in fixed tensors on the device that one copy fills."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# Bytes at multiples of which values begin: vectorized kernels and rows of cuBLAS want no more.
ALIGNMENT = 256


@dataclass(frozen=True)
class Field:
    """Type and shape of one of the values."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.dtype.itemsize


class Inputs:
    """Named tensors on a device that are filled together, from one of several rows of host memory.

    While the device reads what one row brought, another may be written. On a CUDA device the rows are pinned, so that the copy waits
    for nobody: it is queued behind what the current stream does with the values before.
    """

    def __init__(self, fields: Mapping[str, Field], device: torch.device, rows: int = 2) -> None:
        """Everything is zero before it is first filled."""
        self._places: dict[str, tuple[int, Field]] = {}
        size = 0
        for name, field in fields.items():
            self._places[name] = (size, field)
            size += -(-field.bytes // ALIGNMENT) * ALIGNMENT
        self._cuda = device.type == "cuda"
        self._rows = [torch.zeros(size, dtype=torch.uint8, pin_memory=self._cuda) for _ in range(rows)]
        self._written = [self._views(row) for row in self._rows]
        self._left: list[torch.cuda.Event | None] = [None] * rows
        self._device = torch.zeros(size, dtype=torch.uint8, device=device)
        self.values: dict[str, Tensor] = self._views(self._device)
        """The tensors on the device by name; they stay where they are."""

    @property
    def bytes(self) -> int:
        """What one copy moves."""
        return self._device.numel()

    def row(self, number: int) -> dict[str, Tensor]:
        """Row `number` modulo their count, to be written: tensors on the host by name. Waits until an earlier copy has left it."""
        which = number % len(self._rows)
        left = self._left[which]
        if left is not None:
            left.synchronize()
        return self._written[which]

    def send(self, number: int) -> None:
        """Fill the values on the device with row `number`, in one copy."""
        which = number % len(self._rows)
        self._device.copy_(self._rows[which], non_blocking=self._cuda)
        if self._cuda:
            event = self._left[which] = self._left[which] or torch.cuda.Event()
            event.record()

    def _views(self, memory: Tensor) -> dict[str, Tensor]:
        return {
            name: memory[start : start + field.bytes].view(field.dtype).view(field.shape) for name, (start, field) in self._places.items()
        }
