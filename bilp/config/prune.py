"""Settings of static pruning: which samples are kept."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Fraction, Frozen, Location, Positive, Seed
from bilp.config.criteria import CRITERIA, CriterionName, End, dropped_end
from bilp.config.words import KeptShare


def _dropped_end(known: dict[str, Any]) -> End:
    return dropped_end(str(known.get("criterion")))


class PruneConfig(Frozen):
    """Static pruning: which samples of each class survive their score."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"drop", "keep", "floor_per_class", "minimum_per_class", "seed"})

    criterion: CriterionName = "loss_init"
    """Score that ranks the samples; random is the control, external reads a published list."""
    drop: End = Field(default_factory=_dropped_end)
    """Which end of the ranking is dropped: high unless given, but low for aum and monte_carlo."""
    keep: KeptShare = 0.5
    """Share of each class that is kept (1 - alpha); search: found by trying."""
    band: tuple[Fraction, Fraction] | None = None
    """Keep this percentile band of the ascending ranking instead, such as [0.1, 0.6]; overrides keep and drop."""
    per_class: bool = True
    """Rank within each class; false ranks the whole set at once (can unbalance classes)."""
    floor_per_class: Count = 0
    """Best-ranked samples of each class that a ranking of the whole set keeps in any case; the total stays the same."""
    minimum_per_class: Positive = 2
    """Refuse a selection that leaves a class with fewer samples."""
    score_list: Location | None = None
    """URI of a JSON list of numbers in data set order (the format of the paper's preview code), for criterion external."""
    seed: Seed = 0
    """Seed of criterion random."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if CRITERIA[self.criterion].from_list != (self.score_list is not None):
            raise ValueError("criterion external and score_list belong together: set both or neither")
        if self.band is not None and not self.band[0] < self.band[1]:
            raise ValueError(f"band {list(self.band)} is empty: the first value must be below the second")
        if self.floor_per_class and (self.per_class or self.band is not None):
            raise ValueError(f"floor_per_class = {self.floor_per_class} is for per_class = false without band: remove it")
        return self
