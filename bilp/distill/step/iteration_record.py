"""What a distillation tells about each of its iterations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """One iteration, for the table of losses."""

    iteration: int
    loss: float
    """Mean over classes and image steps of the distance."""
    real_used: int
    """Real samples that entered the means, summed over classes and image steps."""
    dropped_share: float
    """Mean share, over classes and image steps, of samples that adaptive pruning kept away."""
