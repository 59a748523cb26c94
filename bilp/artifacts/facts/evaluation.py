"""Facts of teachers, evaluations, pages and reproductions."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bilp.artifacts.facts.base import ClassNames, Facts, Key, Name, Number, Ordinal, Shape, Share
from bilp.config.baselines import BaselineName


class TeacherFacts(Facts):
    """A teacher; `accuracy` is that on the test split."""

    dataset: Key
    class_names: ClassNames
    shape: Shape
    network: Name
    accuracy: Share


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

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.synthetic is None) == (self.real is None):
            raise ValueError("either synthetic or real says what was evaluated")
        return self


class ReproductionFacts(Facts):
    """A cell of a paper, repeated."""

    recipe: Name


class NoFacts(Facts):
    """Of what has none: pages and scores of robustness."""
