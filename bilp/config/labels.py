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
    """Whether every augmented view of an image has the same label, of the image as it is."""
    stored: bool = False
    """Whether it is what the synthetic set stores of its images, so that nobody is asked."""
    learned: bool = False
    """Whether what is stored was learned with the images, at the temperature that the set states."""
    of_real: str = ""
    """The labels of real images, which store none, where synthetic ones have these; empty for the same."""
    regressed: bool = False
    """Whether it is a vector of values that the network shall give, compared by squared differences: the one that was learned with
    the image, and of images without one, as real ones are, the centered one-hot label."""

    @property
    def soft(self) -> bool:
        """Whether it is a distribution over the classes, given by logits."""
        return self.taught or self.stored


HARD = "hard"

LABELS: Registry[LabelEntry] = Registry(
    "kind of labels",
    LabelEntry,
    (
        LabelEntry(HARD),
        LabelEntry("soft", taught=True),
        LabelEntry("fixed", taught=True, fixed=True),
        LabelEntry("stored", fixed=True, stored=True, of_real="fixed"),
        LabelEntry("learned", fixed=True, stored=True, learned=True, of_real=HARD),
        LabelEntry("learned_values", regressed=True),
    ),
)
LabelName = Annotated[str, EntryName("bilp.config.labels:LABELS")]


def instead(entry: LabelEntry) -> str:
    """What to set in the place of labels that a set does not store, in words."""
    return f"{entry.of_real}, which asks a teacher, or to {HARD}" if LABELS[entry.of_real].taught else entry.of_real
