"""Facts of experts, networks trained beforehand, rounds and synthetic sets."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from bilp.artifacts.facts.base import (
    ClassNames,
    Counts,
    Deviations,
    EntryName,
    Facts,
    Floats,
    Key,
    Means,
    Name,
    Number,
    Ordinal,
    Positive,
    Shape,
    Share,
    require_length,
)
from bilp.artifacts.facts.data import WhiteningFacts
from bilp.config.reselect import ScoreName
from bilp.config.shapes import channels_of


class ExpertFacts(Facts):
    """One expert."""

    dataset: Key
    selection: Key | None
    expert: Number
    samples: Ordinal
    losses: Floats
    """Mean training loss of each epoch."""


class BufferFacts(Facts):
    """The experts of one training set-up."""

    dataset: Key
    selection: Key | None
    training: Key
    network: dict[str, JsonValue]
    count: Ordinal
    epochs: Ordinal
    samples: Ordinal
    parameters: tuple[tuple[Name, tuple[Ordinal, ...]], ...]
    """Name and shape of every parameter, in the network's order."""


class PretrainedFacts(Facts):
    """A network that is trained beforehand; `correct` is the share of images of each epoch that it classified correctly."""

    dataset: Key
    selection: Key | None
    number: Number
    samples: Ordinal
    correct: tuple[Share, ...]


class ReselectFacts(Facts):
    """What adaptive pruning decided at the start of a round."""

    round: Ordinal
    iteration: Number
    dropped_share: Share
    dropped_share_so_far: Share
    score: ScoreName = "ite"
    quantile_classes: Counts = ()
    effective_share: Share | None = None
    """Mode weight: effective size of the weighted samples, as a share of them, mean over classes."""


class StateFacts(Facts):
    """The state after a round."""

    round: Ordinal
    iteration: Number
    """Iterations that are done."""


class RoundFacts(StateFacts):
    """A round of a run, or of one of its shards; the last three are those of adaptive pruning."""

    first_iteration: Number
    loss: float
    decided_per_class: Counts | None = None
    dropped_per_class: Counts | None = None
    quantile_classes: Counts | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.iteration < self.first_iteration:
            raise ValueError(f"iteration {self.iteration} lies before first_iteration {self.first_iteration}")
        decided, dropped = self.decided_per_class, self.dropped_per_class
        if len({fact is None for fact in (decided, dropped, self.quantile_classes)}) > 1:
            raise ValueError("decided_per_class, dropped_per_class and quantile_classes come together")
        if decided is not None and dropped is not None:
            require_length(len(decided), "classes", dropped_per_class=dropped)
            if any(part > whole for part, whole in zip(dropped, decided, strict=True)):
                raise ValueError("more samples of a class are dropped than were decided on")
        return self


class ResizedFacts(Facts):
    """What a synthetic set was taken out of (`bilp.resizing`)."""

    parent: Key
    """The key of the set that had more images."""
    ipc: Ordinal
    """How many of each class it had."""
    rule: EntryName


class SoftLabelFacts(Facts):
    """The soft labels that a synthetic set stores, and what storing them in this form has lost (`bilp.distill.soft_labels`)."""

    form: Literal["float16", "top_k", "float32"]
    top_k: Ordinal | None = None
    """Logits of each image, of form top_k."""
    temperature: Positive
    divergence: Annotated[float, Field(ge=0.0)]
    """Mean divergence of the labels at this temperature from those before, in nats."""
    agreement: Share
    """Share of images whose likeliest class is the same."""
    bytes: Ordinal

    @property
    def learned(self) -> bool:
        """Whether they were learned with the images, and are no teacher's answers: the form that stores them as they are has no others."""
        return self.form == "float32"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.form == "top_k") != (self.top_k is not None):
            raise ValueError("top_k is of form top_k, and of no other")
        return self


class StorageFacts(Facts):
    """What a set takes that is stored as less than its images, from which these follow (`bilp.distill.factors_product`)."""

    values: Ordinal
    """Numbers that are stored."""
    equivalent_ipc: Positive
    """Images of each class that are as many numbers."""


class LearnedLabelFacts(Facts):
    """Labels that were learned together with the images of a synthetic set (`bilp.distill.learned_labels`)."""

    kind: Literal["values"]
    """What they are: values that networks shall give, compared by their squared differences."""
    agreement: Share
    """Share of images whose largest label is that of their class."""


class SyntheticFacts(Facts):
    """A synthetic set; see `bilp.distill.finish.finish_run`."""

    dataset: Key
    class_names: ClassNames
    shape: Shape
    mean: Means
    std: Deviations
    ipc: Ordinal
    method: Name
    decode: dict[str, JsonValue] | None = None
    """See `bilp.images.decode_stored.decoded`, which says what to do about one that this version does not know."""
    iterations: Number | None = None
    learning_rate: Positive | None = None
    whitening: WhiteningFacts | None = None
    source: Name | None = None
    """Name of the file that the set was imported from."""
    resized: ResizedFacts | None = None
    """Set if images of a larger set were left out."""
    soft_labels: SoftLabelFacts | None = None
    """Those that lie beside the images, if there are any."""
    storage: StorageFacts | None = None
    """Set if the images follow from less, which lies beside them."""
    learned_labels: LearnedLabelFacts | None = None
    """Those that were learned with the images, as soft_labels."""
    real: Ordinal | None = None
    """How many of the images are real training samples as they are, if any are; `ipc` counts them."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.real is not None and self.real > self.images[0]:
            raise ValueError(f"of {self.images[0]} images {self.real} are real")
        require_length(channels_of(self.shape), "channels", mean=self.mean, std=self.std)
        return self

    @property
    def images(self) -> tuple[int, ...]:
        """Shape `[classes * ipc, C, H, W]` of the stored images, or `[classes * ipc, T, C, H, W]` of clips."""
        return (len(self.class_names) * self.ipc, *self.shape)
