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
    """Whether every augmented view of an image has the same label: the teacher looks once at each image as it is."""
    stored: bool = False
    """Whether it is what a synthetic set stores beside its images, for every view the same; real images have their classes."""

    @property
    def soft(self) -> bool:
        """Whether it is a distribution over the classes."""
        return self.taught or self.stored


HARD = "hard"

LABELS: Registry[LabelEntry] = Registry(
    "kind of labels",
    LabelEntry,
    (
        LabelEntry(HARD),
        LabelEntry("soft", taught=True),
        LabelEntry("fixed", taught=True, fixed=True),
        LabelEntry("stored", fixed=True, stored=True),
    ),
)
LabelName = Annotated[str, EntryName("bilp.config.labels:LABELS")]
