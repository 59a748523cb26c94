"""The registry of baselines: the real images that synthetic ones are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class BaselineEntry:
    """What is known of a baseline before it is evaluated."""

    name: str
    title: str
    """What the page calls it."""
    meaning: str
    """What its networks learned from, in words for the page."""
    css: str = "c-random"
    """Class of its color on the page."""
    chooser: str | None = None
    """"module:name" of what chooses its images (see `bilp.evaluate.baselines.Chooser`); None for all that there are, whatever
    ipc is."""
    covers: bool = False
    """Whether images are chosen by the features of the teacher, which is trained for that."""
    selected: bool = False
    """Whether images are taken from what static pruning keeps, which is made first, and not from all real training images."""
    hidden: bool = False
    """Whether it is evaluated for the arm of the same name, and offered to nobody as a baseline."""

    @property
    def whole(self) -> bool:
        """Whether it is all images that there are, which have a number of epochs of their own."""
        return self.chooser is None


ALL_REAL, RANDOM_REAL = "full", "random"
"""Those that the page's first sentence and the scores of DD-Ranking compare with."""

DIRECT = "direct"
"""The real images of the arm of the same name."""

_AS_MANY = "trained on as many real images"

BASELINES: Registry[BaselineEntry] = Registry(
    "baseline",
    BaselineEntry,
    (
        BaselineEntry(ALL_REAL, "All real images", "trained on every real training image", "c-full"),
        BaselineEntry(
            RANDOM_REAL,
            "Random real images",
            f"{_AS_MANY} as there are synthetic ones, drawn at random",
            chooser="bilp.evaluate.baselines:random_choice",
        ),
        BaselineEntry(
            "herding",
            "Herded real images",
            f"{_AS_MANY}, chosen so that their mean is the class's",
            chooser="bilp.evaluate.baselines:herded_choice",
            covers=True,
        ),
        BaselineEntry(
            "k_center",
            "K-center real images",
            f"{_AS_MANY}, chosen so that all others are close to one",
            chooser="bilp.evaluate.baselines:centered_choice",
            covers=True,
        ),
        BaselineEntry(
            "random_kept",
            "Random kept images",
            f"{_AS_MANY} as there are synthetic ones, drawn at random from those that static pruning keeps",
            "c-random-kept",
            chooser="bilp.evaluate.baselines:random_choice",
            selected=True,
        ),
        BaselineEntry(
            DIRECT,
            "Selected real images",
            "trained on every real image that static pruning keeps, in as many steps as on all of them: no distillation",
            "c-direct",
            selected=True,
            hidden=True,
        ),
    ),
    hidden=lambda entry: entry.hidden,
)
BaselineName = Annotated[str, EntryName("bilp.config.baselines:BASELINES")]
