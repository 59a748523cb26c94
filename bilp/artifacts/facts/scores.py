"""Facts of scores and selections."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bilp.artifacts.facts.base import (
    ClassNames,
    Counts,
    EntryName,
    Facts,
    Floats,
    Key,
    Name,
    Number,
    Ordinal,
    Share,
    require_equal,
    require_length,
)
from bilp.config.criteria import Dropping
from bilp.config.measures import MEASURES, MeasureName


class ExtensionFacts(Facts):
    """How the scores of a data set were extended to one that grew from it."""

    version: Annotated[int, Field(ge=2, lt=2**53)]
    """Which scoring of the growing data this is; 1 is the one that trained the networks."""
    onto: Key
    """Key of the summary that was extended."""
    training: Key
    """Key that stands for the extended scoring where otherwise that of a training stands."""
    learned: Key
    """Fingerprint of the data set that the networks learned."""
    taken: Number
    """Samples whose scores were taken over."""
    added: Number
    """Samples that were scored by the kept networks."""
    removed: Number
    """Samples that had scores before and are in the data set no longer."""
    unseen: Number
    """Samples that the networks did not learn."""


class GrowthFacts(ExtensionFacts):
    """Whether the scores of a data set could be extended to one that grew from it; `reasons` say why they could not."""

    dataset: Key
    samples: Ordinal
    reasons: tuple[Name, ...]


class NetworksFacts(Facts):
    """The networks of a trial, one for each epoch."""

    dataset: Key
    trial: Number
    epochs: Ordinal


class TrialFacts(Facts):
    """One trial of a scoring; the last three are those of trajectories alone."""

    dataset: Key
    trial: Number
    measure: MeasureName = "trajectory"
    samples: Number
    epochs: Ordinal | None = None
    final_loss: float | None = None
    final_accuracy: Share | None = None
    extended: ExtensionFacts | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.epochs is not None) != MEASURES[self.measure].per_epoch:
            raise ValueError("epochs belong to trajectories, and to nothing else")
        return self


class PredictionsFacts(Facts):
    """What the network of a trial predicts; `equals_trial` says whether its training gave the trial that lies beside it to the byte."""

    dataset: Key
    trial: Number
    samples: Ordinal
    epochs: Ordinal
    kept_classes: Ordinal
    equals_trial: bool


class SummaryFacts(Facts):
    """The trials of a scoring, joined; `criteria` are those that a selection can be made by."""

    dataset: Key
    samples: Ordinal
    trials: Ordinal
    measure: MeasureName = "trajectory"
    criteria: tuple[EntryName, ...]
    extended: ExtensionFacts | None = None

    @property
    def version(self) -> int:
        """Which scoring of growing data this is, from 1."""
        return 1 if self.extended is None else self.extended.version


class AtlasFacts(Facts):
    """An entry of an atlas."""

    entry: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    title: Name
    table: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """sha256 of the table."""


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
    neighbors: Ordinal = 5
    gamma: Annotated[float, Field(ge=0.0)] = 0.1
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
    scores_version: Ordinal | None = None
    """Version of extended scores that it was made by (`ExtensionFacts`)."""
    atlas: AtlasFacts | None = None
    """Whose scores it was made by, if they are none of the storage."""

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


class ScoreQuality(Facts):
    """How well a score finds the labels that are known to be wrong; a higher rank is more suspicious."""

    score: EntryName
    auroc: Share
    auprc: Share
    precision_at_errors: Share
    samples: Ordinal
    """Those that have the score."""


class SuspectsFacts(Facts):
    """A list of suspects. `errors` counts the labels that are known to be wrong, and `quality` says how well scores find them; both
    are empty where nobody knows the truth."""

    dataset: Key
    class_names: ClassNames
    samples: Ordinal
    trials: Ordinal
    epochs: Ordinal
    by: EntryName
    estimated_errors: Number
    near_duplicates: Number
    reviewed: Number
    repeated_otherwise: Counts
    """Numbers of the trials whose predictions came from another training than the one that was scored."""
    errors: Number | None = None
    relabeled: Number | None = None
    """Images to which corrections give another class by themselves; None where these were not asked to."""
    quality: tuple[ScoreQuality, ...] = ()
