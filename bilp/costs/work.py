"""Units of work of a plan: what each does to how many samples, what it reads and holds, and how long it takes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Samples that pass a network."""

    what: str
    samples: int
    """Passes of a sample, counted once for each time that it passes."""
    forwards: float
    """What a pass costs, as a multiple of a forward pass."""


@dataclass(frozen=True)
class Unit:
    """One unit: what one worker does at a time."""

    stage: str
    name: str
    seconds: float
    """On one GPU, or on one core where no GPU takes part."""
    works: tuple[Work, ...] = ()
    bytes_read: int = 0
    gpu_bytes: int = 0
    """Memory of the GPU: resident images, state, passes."""
    resident: bool | None = None
    """Whether images stay on the GPU under BILP_DATA=auto; None where no GPU takes part."""

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU takes part."""
        return self.resident is not None


def makespan(units: Sequence[Unit], workers: int) -> float:
    """Seconds until so many workers have done all units, the longest first, each given to the first that is free."""
    free = [0.0] * workers
    for seconds in sorted((unit.seconds for unit in units), reverse=True):
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)
