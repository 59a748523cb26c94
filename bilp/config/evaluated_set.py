"""Which set networks are trained on, as an argument of the units that share an evaluation."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Frozen, Positive
from bilp.config.baselines import BaselineName


class EvaluatedSet(Frozen):
    """A synthetic set with what the table says of it, or a baseline of real images."""

    synthetic_uri: str | None = None
    """The synthetic set."""
    arm: str = ""
    """The arm of the comparison that it belongs to."""
    experiment: Count = 0
    """Number of the distillation within the arm, from 0."""
    baseline: BaselineName | None = None
    """Real images: all, or how they are chosen."""
    ipc: Positive = 1
    """Images per class of a choice."""
    selection_uri: str | None = None
    """What static pruning keeps, for baselines that take images from it."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.synthetic_uri is None) == (self.baseline is None):
            raise ValueError("networks are trained on a synthetic set or on a baseline: name one of synthetic_uri and baseline")
        return self

    @property
    def title(self) -> str:
        """What people call it."""
        if self.baseline is not None:
            return self.baseline
        return self.arm if self.experiment == 0 else f"{self.arm} {self.experiment + 1}"


class Block(Frozen):
    """Trainings of one network of an evaluation."""

    network: Annotated[int, Field(ge=0)]
    """Its place in the list of networks."""
    first: Count
    """Seed of the first training."""
    last: Count
    """Seed of the last one."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"a block of trainings ends at seed {self.last} before it begins at {self.first}: give first <= last")
        return self
