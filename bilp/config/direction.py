"""Which end of the ranking is dropped by default: the hard one for few images per class, the easy one for many.

The more images a class gets, the more of its variety they can hold, and the less is gained by hiding its hard samples. PAD (Li et al.
2024, figure 3, CIFAR-10) drops either end: at 1 image per class accuracy grows with the share of hard samples that are dropped
(DM 26.4 to 29.2 at one half, DC 27.8 to 29.1 and MTT 46.4 to 47.6 at a fifth); at 500 it grows when a tenth of the easy ones go (DC 70.8 to
71.9, DM 75.1 to 76.3 at 15 %, MTT 83.5 to 84.3), and falls for all beyond a fifth to a quarter. SelMatch, CCFS and CAD-Prune find
the same turn. Where between 10 and 500 it lies nobody has published; both ends at 50 is this project's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bilp.config.criteria import Criterion, Dropping
from bilp.config.rules import RULES

Which = Literal["hard", "easy", "both"]


@dataclass(frozen=True)
class Direction:
    """What is dropped from so many images per class on."""

    which: Which
    reason: str
    """As `--explain` tells it."""
    least_ipc: int = 1
    most_ipc: int | None = None
    least_share: float = 0.0
    """ipc as a share of the real images of a class, where that number is known; where it is not, no share above 0 is reached."""
    keep: float | None = None
    """Share to keep where none was given."""

    def applies(self, ipc: int, per_class: int | None) -> bool:
        """For ipc synthetic and `per_class` real images of each class."""
        share = ipc / per_class if per_class else 0.0
        return self.least_ipc <= ipc and (self.most_ipc is None or ipc <= self.most_ipc) and share >= self.least_share

    def end(self, criterion: Criterion) -> Dropping:
        """The end of the criterion's ranking."""
        if self.which == "both":
            return "both"
        other: Dropping = "low" if criterion.drop == "high" else "high"
        return criterion.drop if self.which == "hard" else other


DIRECTIONS = (
    Direction("hard", "up to 10: hard images", most_ipc=10),
    Direction("easy", "5 % of the class or more: easy images", least_share=0.05, keep=0.9),
    Direction("both", "50 or more: both ends", least_ipc=50),
    Direction("hard", "fewer than 50: hard images"),
)
"""The first that applies holds."""


def direction(ipc: int, per_class: int | None) -> Direction:
    """The one that holds for ipc synthetic and `per_class` real images of each class."""
    return next(entry for entry in DIRECTIONS if entry.applies(ipc, per_class))


def turned(criterion: Criterion, rule: str, ipc: int, per_class: int | None) -> tuple[str, dict[str, Any], float | None] | None:
    """Origin, values and share to keep that follow, None if they do not differ from dropping the criterion's own end.

    Criteria that do not tell how hard a sample is have no direction to turn, and neither have rules that cut no end.

    Args:
        criterion: that samples are ranked by.
        rule: of pruning.
        ipc: synthetic images of each class.
        per_class: real images of each class; None if that is not known.
    """
    found = direction(ipc, per_class)
    if not criterion.difficulty or not RULES[rule].tails or found.which == "hard":
        return None
    return f"ipc {ipc} ({found.reason} are dropped)", {"prune": {"drop": found.end(criterion)}}, found.keep
