"""Numbers that suit a kind of device: how much of a kind of work one pass takes.

Grouping changes the order of sums and with it the last digits of a result, so these numbers follow from what the device is, never from
what is free on it: a run that goes on elsewhere on the same model computes the same.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

# From here on a GPU holds what a whole image step of the papers' settings keeps, several times over.
LARGE_MEMORY = 64 * 2**30


@dataclass(frozen=True)
class ByDevice:
    """A number for each kind of device."""

    cpu: int
    gpu: int
    """For GPUs of whatever memory."""
    large: int
    """For GPUs with at least `LARGE_MEMORY`: they are kept busy by large passes alone, and these fit."""

    def on(self, device: torch.device) -> int:
        """The one for a device."""
        if device.type == "cpu":
            return self.cpu
        return self.large if memory_of(device) >= LARGE_MEMORY else self.gpu


def memory_of(device: torch.device) -> int:
    """Bytes of memory that a CUDA device has in all, free or not; 0 for others, which are not asked."""
    return _cuda_memory(device) if device.type == "cuda" else 0


@functools.cache
def _cuda_memory(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).total_memory)
