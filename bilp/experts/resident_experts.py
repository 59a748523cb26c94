"""Parameters of experts that stay on a device once they were read, so that no iteration waits for a file and a copy."""

from __future__ import annotations

import torch

from bilp.experts.files import Parameters

SHARES = {"cuda": 8 * 2**30}
"""Bytes that they may take on a device, by its type, and none elsewhere; 100 experts of 50 epochs of the papers' ConvNet take 6.5e9."""


class Resident:
    """Parameters by expert and epoch, up to the share of the device; what comes later is not kept. Results do not depend on it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[torch.device, int, int], Parameters] = {}
        self._bytes = 0

    def find(self, device: torch.device, expert: int, epoch: int) -> Parameters | None:
        """Those of an expert after an epoch, if they are there. Do not write into them."""
        return self._kept.get((device, expert, epoch))

    def keep(self, device: torch.device, expert: int, epoch: int, values: Parameters) -> None:
        """Keep parameters that lie on the device, if they still fit."""
        size = sum(value.numel() * value.element_size() for value in values)
        if self._bytes + size <= SHARES.get(device.type, 0):
            self._kept[device, expert, epoch] = values
            self._bytes += size


def moved(values: Parameters, device: torch.device) -> Parameters:
    """Copies on the device, float32, which travel as one vector; on a CPU copies tensor by tensor."""
    if device.type == "cpu":
        return tuple(value.to(device, copy=True) for value in values)
    sizes = [value.numel() for value in values]
    joined = torch.empty(sum(sizes), dtype=torch.float32, pin_memory=device.type == "cuda")
    torch.cat([value.flatten() for value in values], out=joined)
    parts = joined.to(device, non_blocking=True).split(sizes)
    return tuple(part.view(value.shape) for part, value in zip(parts, values, strict=True))
