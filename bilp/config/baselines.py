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
    """"module:name" of what chooses its images (see `bilp.evaluate.baselines.Chooser`); None for all real training images, whatever
    ipc is."""
    covers: bool = False
    """Whether images are chosen by the features of the teacher, which is trained for that."""

    @property
    def whole(self) -> bool:
        """Whether it is all real training images, which have a number of epochs of their own."""
        return self.chooser is None


ALL_REAL, RANDOM_REAL = "full", "random"
"""Those that the page's first sentence and the scores of DD-Ranking compare with."""

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
    ),
)
BaselineName = Annotated[str, EntryName("bilp.config.baselines:BASELINES")]
