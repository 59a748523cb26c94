"""What sets are stored as, in numbers: some as less than their images, from which these follow."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.config.distill import DistillConfig
from bilp.config.methods import METHODS
from bilp.config.shapes import values_in


def stored_values(distill: DistillConfig, classes: int, shape: Sequence[int]) -> int | None:
    """Numbers that a set of the run is stored as; None if it is stored as its images."""
    count = METHODS[distill.method].stored_values
    return None if count is None else count(distill, classes, tuple(shape))


def equivalent_ipc(values: int, classes: int, shape: Sequence[int]) -> float:
    """Images of each class that are as many numbers, which papers call the ipc of such a set."""
    return values / (classes * values_in(shape))
