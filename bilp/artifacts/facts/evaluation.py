"""Facts of teachers, evaluations, pages and reproductions."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, JsonValue, model_validator

from bilp.artifacts.facts.base import ClassNames, Facts, Key, Name, Number, Ordinal, Shape, Share
from bilp.config.baselines import BaselineName


class TeacherFacts(Facts):
    """A teacher; `accuracy` is that on the test split."""

    dataset: Key
    class_names: ClassNames
    shape: Shape
    network: Name
    accuracy: Share
    selection: Key | None = None
    """What it learned; all samples if there is none."""


class EvaluationFacts(Facts):
    """The evaluation of a synthetic set, or of real images."""

    dataset: Key
    arm: Name
    experiment: Number
    networks: Annotated[tuple[Name, ...], Field(min_length=1)]
    synthetic: Annotated[str, Field(max_length=64)] | None = None
    """Key of the set."""
    real: BaselineName | None = None
    """Baseline."""
    ipc: Ordinal | None = None
    teacher: Key | None = None
    selection: Key | None = None
    """What real images were taken from, of baselines of selected ones."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.synthetic is None) == (self.real is None):
            raise ValueError("either synthetic or real says what was evaluated")
        return self


class ReproductionFacts(Facts):
    """A cell of a paper, repeated."""

    recipe: Name


class StatedDifference(Facts):
    """A mean difference of accuracies, and half the width of its 95 % interval, which a single value does not have."""

    mean: Annotated[float, Field(ge=-1.0, le=1.0)]
    half_width95: Annotated[float, Field(ge=0.0)] | None
    n: Ordinal


class StatedAccuracy(Facts):
    """The accuracy of an arm on a network over n trainings, and its paired difference to the unpruned arm, if there is one."""

    arm: Name
    network: Name
    mean: Share
    half_width95: Annotated[float, Field(ge=0.0)] | None
    n: Ordinal
    difference: StatedDifference | None
    gain: StatedDifference | None = None
    """Over as many random real images, paired by seed; of pages that were published before it was stated, nobody knows."""


class ReportFacts(Facts):
    """What a page says in numbers; pages that were published before these were stated have none."""

    name: Name | None = None
    """Of the data set."""
    accuracies: tuple[StatedAccuracy, ...] | None = None
    changed: dict[str, JsonValue] | None = None
    """Settings by dotted path that are not what data set, method and images per class imply (`bilp.config.changed`)."""
    size: Number | None = None
    """Bytes of the artifacts that the page rests on."""
    scores_version: Ordinal = 1
    """Which scoring of data that grow the page rests on."""


class NoFacts(Facts):
    """Of what has none: scores of robustness."""
