"""Estimators of the causal effect: one entry each; their names are tested nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class EstimatorEntry:
    """How an estimator comes to the norms of the effects of a batch."""

    name: str
    by_definition: bool = False
    """Leaves samples out one by one, in float32 alone: what the others are measured by."""
    first_order: bool = False
    sketches: bool = False
    """Estimates the norms from some directions; forms no effects."""
    exact_where_better: bool = False
    """Whether a sketch is tried only where it pays, and what it orders too roughly is measured exactly."""

    @property
    def forms_effects(self) -> bool:
        """Whether it can give the effects themselves, not their norms alone."""
        return not self.sketches or self.exact_where_better


ESTIMATORS = Registry(
    "estimator",
    EstimatorEntry,
    (
        EstimatorEntry("auto", sketches=True, exact_where_better=True),
        EstimatorEntry("oracle", by_definition=True),
        EstimatorEntry("cotangent"),
        EstimatorEntry("taylor", first_order=True),
        EstimatorEntry("sketch", sketches=True),
    ),
)

EstimatorName = Annotated[str, EntryName("bilp.config.estimators:ESTIMATORS")]
