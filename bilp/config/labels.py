"""The registry of the labels that networks of an evaluation learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class LabelEntry:
    """What the target of an image is."""

    name: str
    """As `evaluate.labels` takes it."""
    taught: bool = False
    """Whether it is what a teacher says, so that one is trained first."""
    fixed: bool = False
    """Whether the teacher looks once at each image as it is, so that every augmented view has the same label."""
    regressed: bool = False
    """Whether it is a vector of values that the network shall give, compared by squared differences: the one that was learned with
    the image, and of images without one, as real ones are, the centered one-hot label."""


HARD = "hard"

LABELS: Registry[LabelEntry] = Registry(
    "kind of labels",
    LabelEntry,
    (
        LabelEntry(HARD),
        LabelEntry("soft", taught=True),
        LabelEntry("fixed", taught=True, fixed=True),
        LabelEntry("learned_values", regressed=True),
    ),
)
LabelName = Annotated[str, EntryName("bilp.config.labels:LABELS")]
