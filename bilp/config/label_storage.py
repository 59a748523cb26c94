"""How a set stores a teacher's answers to its images: settings that methods with a teacher share."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import Field

from bilp.config.base import NoneIsAChoice, Positive, Rate

LabelForm = Annotated[
    Literal["none", "float16", "top_k"],
    NoneIsAChoice,
    Field(
        description="What the set stores of the teacher's answers to its images: nothing, all logits in 16 bits, or the largest ones of "
        "each."
    ),
]
StoredLogits = Annotated[
    Positive, Field(description="Logits of an image that soft_labels top_k stores; one more number stands for all the others.")
]
LabelTemperature = Annotated[
    Rate,
    Field(
        description="At which soft labels of top_k give the others, together, the share that they have, and at which what is lost is "
        "measured."
    ),
]


class LabelStorage(Protocol):
    """Settings of a method whose sets store a teacher's answers."""

    @property
    def soft_labels(self) -> Literal["none", "float16", "top_k"]:
        """See LabelForm."""

    @property
    def top_k(self) -> int:
        """See StoredLogits."""

    @property
    def temperature(self) -> float:
        """See LabelTemperature."""
