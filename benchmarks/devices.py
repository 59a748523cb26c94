"""Devices to measure on, and clocks that wait for what a device still has to do."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def devices() -> list[torch.device]:
    """The CPU, and a GPU if there is one."""
    return [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]


def clock_on(device: torch.device, clock: Clock) -> Clock:
    """`clock` on a CPU; on a GPU seconds of wall time at which everything that was asked of it is done."""
    if device.type == "cpu":
        return clock

    def waiting() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return waiting
