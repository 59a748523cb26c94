"""Units of work of a plan: what each does to how many samples, what it reads and holds, and how long it takes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

FORWARD = 1.0
IMAGES = 2.0
"""Forwards, and back to the images."""
TRAINING = 3.0
"""Forwards, and back to images and weights: a step of training, or a gradient."""


MEASURED = "measured"
"""What is done to samples whose causal effect is measured."""


@dataclass(frozen=True)
class Work:
    """Samples that pass a network."""

    what: str
    samples: int
    """Passes of a sample, counted once for each time that it passes; the fewest where a rule ends them."""
    forwards: float
    """What a pass costs, as a multiple of a forward pass; 0 where samples are looked at and pass no network."""
    stored: bool = False
    """Whether these are samples of the store, which travel where they are not resident."""
    most: int | None = None
    """The most passes, where a rule ends them."""
    kind: str = ""
    """What has to be measured to know its time, where that is not what the rest of its unit is measured by."""

    def times(self, count: int) -> Work:
        """So many of these."""
        return replace(self, samples=count * self.samples, most=None if self.most is None else count * self.most)

    @property
    def cost(self) -> float:
        """Forward passes that take as long."""
        return self.samples * self.forwards


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
    device: bool = False
    """Whether networks compute, on a GPU or on the CPU that stands in for one."""
    kind: str = ""
    """What is measured to know its time, where networks compute."""
    most_seconds: float | None = None
    """The longest that it may take, where a rule of its method ends it; `seconds` is the shortest then."""

    @property
    def passes(self) -> int:
        """Passes of a sample through a network; samples that a method looks at without one, as it holds what they gave, are none."""
        return sum(work.samples for work in self.works if work.forwards > 0)

    @property
    def unknown(self) -> bool:
        """Whether networks compute, and nobody knows what."""
        return self.device and not self.works


def makespan(units: Sequence[Unit], workers: int) -> float:
    """Seconds until so many workers have done all units, the longest first, each given to the first that is free."""
    free = [0.0] * workers
    for seconds in sorted((unit.seconds for unit in units), reverse=True):
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)
