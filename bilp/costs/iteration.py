"""What one iteration of a distillation works on, as the formulas of the methods take it (`Method.work`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bilp.config import METHODS, DistillConfig
from bilp.config.entering import entering_images
from bilp.costs.data_counts import Counts
from bilp.costs.network_cost import NetworkCost
from bilp.costs.work import Work


@dataclass(frozen=True)
class Iteration:
    """An iteration on some classes."""

    config: DistillConfig
    pool: Counts
    """Real samples of every class that take part, also of classes that another shard distills."""
    classes: range
    """Those whose images are distilled."""
    network: NetworkCost
    """What a forward pass of a sample costs."""
    on_gpu: bool
    """Whether a GPU does it, whose forms of some gradients take fewer operations."""

    @cached_property
    def own(self) -> Counts:
        """Real samples of the classes that are distilled."""
        found: Counts = self.pool[self.classes.start : self.classes.stop]
        return found

    @cached_property
    def real(self) -> int:
        """Real samples of an image step."""
        return int(np.minimum(self.own, METHODS[self.config.method].looked_at(self.config)).sum())

    @property
    def kept(self) -> int:
        """Synthetic images of these classes, as they are stored."""
        return len(self.classes) * self.config.ipc

    @property
    def synthetic(self) -> int:
        """Synthetic images of these classes that enter the network in an image step."""
        return len(self.classes) * entering_images(self.config)


Formula = Callable[[Iteration], list[Work]]
"""What an iteration does to how many samples."""


def batch_sizes(count: int, batch: int) -> list[int]:
    """Samples of each mini-batch of one pass over `count` of them."""
    return [min(batch, count - start) for start in range(0, count, batch)]
