"""Facts of scores and selections."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from bilp.artifacts.facts.base import (
    ClassNames,
    Counts,
    EntryName,
    Facts,
    Floats,
    Key,
    Number,
    Ordinal,
    Share,
    require_equal,
    require_length,
)
from bilp.config.criteria import Dropping
from bilp.config.measures import MEASURES, MeasureName


class TrialFacts(Facts):
    """One trial of a scoring; the last three are those of trajectories alone."""

    dataset: Key
    trial: Number
    measure: MeasureName = "trajectory"
    samples: Number
    epochs: Ordinal | None = None
    final_loss: float | None = None
    final_accuracy: Share | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.epochs is not None) != MEASURES[self.measure].per_epoch:
            raise ValueError("epochs belong to trajectories, and to nothing else")
        return self


class SummaryFacts(Facts):
    """The trials of a scoring, joined; `criteria` are those that a selection can be made by."""

    dataset: Key
    samples: Ordinal
    trials: Ordinal
    measure: MeasureName = "trajectory"
    criteria: tuple[EntryName, ...]


class MixtureFacts(Facts):
    """What mixtures found for `keep: auto`, by class: parameters are those of scores after the criterion's normal form, hard ones high.

    `separation` is Ashman's D of the mixture of all samples. If there is no split, `agreement` is how often networks that are sure agree
    with the labels, if that is known, and decides whether anything was dropped.
    """

    split: bool
    separation: float
    agreement: Share | None = None
    low_weight: Floats
    high_weight: Floats
    low_mean: Floats
    high_mean: Floats
    low_std: Floats
    high_std: Floats


class SelectionFacts(Facts):
    """A static selection; lists are in the order of class_names."""

    dataset: Key
    class_names: ClassNames
    criterion: EntryName
    drop: Dropping
    keep: Share
    """For keep auto the share that was found."""
    rule: EntryName = "tail"
    low_share: Share = 0.5
    strata: Ordinal = 50
    hardest: Share = 0.0
    mixture: MixtureFacts | None = None
    band: tuple[float, float] | None = None
    per_class: bool
    floor_per_class: Number = 0
    total: Ordinal
    kept: Ordinal
    total_per_class: Counts
    kept_per_class: Counts
    lowest_kept_per_class: Floats
    highest_kept_per_class: Floats

    @model_validator(mode="after")
    def _agree(self) -> Self:
        require_length(
            len(self.class_names),
            "classes",
            total_per_class=self.total_per_class,
            kept_per_class=self.kept_per_class,
            lowest_kept_per_class=self.lowest_kept_per_class,
            highest_kept_per_class=self.highest_kept_per_class,
        )
        if self.mixture is not None:
            require_length(len(self.class_names), "classes", **{name: part for name, part in self.mixture if isinstance(part, tuple)})
        require_equal("total and the sum of total_per_class", self.total, sum(self.total_per_class))
        require_equal("kept and the sum of kept_per_class", self.kept, sum(self.kept_per_class))
        if any(kept > total for kept, total in zip(self.kept_per_class, self.total_per_class, strict=True)):
            raise ValueError("more of a class is kept than there is")
        return self
