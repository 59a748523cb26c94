"""The registry of arms: what a comparison consists of, and the registry of the real samples that an arm may learn from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from bilp.config.baselines import BASELINES, DIRECT
from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class SamplesEntry:
    """Which real samples take part in an arm."""

    name: str
    title: str
    """What displays call them."""
    left_out: str = ""
    """What happened to the others, in words for the page's first sentence: 'pruned'."""
    chooser: str | None = None
    """"module:name" of what makes their selection (`bilp.pruning.chosen.Chooser`); None for all real samples, which need none."""
    check: str | None = None
    """"module:name" of what raises ConfigError before any work if they cannot be chosen: it takes the URI of the source's record."""
    after_static: bool = False
    """Whether the static selection is made first: as what takes part, or for how many of each class do."""
    static: bool = False
    """Whether they are the static selection itself."""
    redrawn: bool = False
    """Whether each distillation has a draw of its own, so that the interval of the arm covers the luck of one."""


ALL_SAMPLES, AS_MANY_RANDOM = "all", "as_many_random"

SAMPLES: Registry[SamplesEntry] = Registry(
    "choice of samples",
    SamplesEntry,
    (
        SamplesEntry(ALL_SAMPLES, "all samples"),
        SamplesEntry("scored", "the selection", "pruned", chooser="bilp.pruning.chosen:static_selection", after_static=True, static=True),
        SamplesEntry(
            AS_MANY_RANDOM,
            "a random selection",
            "left out at random",
            chooser="bilp.pruning.chosen:random_selection",
            after_static=True,
            redrawn=True,
        ),
        SamplesEntry(
            "rightly_labeled",
            "rightly labeled samples",
            "left out for a wrong label",
            chooser="bilp.truth.arm_samples:rightly_labeled",
            check="bilp.truth.arm_samples:check_truth",
        ),
    ),
)


@dataclass(frozen=True)
class ArmEntry:
    """What is known of an arm before it is carried out. BiLP prunes on two levels, and an arm switches each on or off."""

    name: str
    title: str
    """What the page calls it."""
    meaning: str
    """What its networks learned from, in words for the page."""
    css: str
    """Class of its color on the page."""
    place: int
    """The page is about the arm with the largest of these."""
    samples: str = ALL_SAMPLES
    """The real samples that take part, by their name in SAMPLES."""
    adaptive: bool = False
    """Whether samples are left out by their causal effect while the set is distilled."""
    otherwise: str | None = None
    """The arm that this one equals under a method whose samples have no effect of their own; None if it is refused then, being
    adaptive."""
    distills: bool = True
    """Whether there is a synthetic set. If not, networks learn real samples: the baseline of the arm's own name."""

    @property
    def choice(self) -> SamplesEntry:
        """The entry of its samples."""
        return SAMPLES[self.samples]

    @property
    def compared(self) -> bool:
        """Whether its accuracy is compared with the unpruned arm's in pairs of distillations."""
        return self.distills and (self.adaptive or self.samples != ALL_SAMPLES)


UNPRUNED = "unpruned"
"""The control: every difference on the page is to this arm."""

_DIRECT = BASELINES[DIRECT]

ARMS: Registry[ArmEntry] = Registry(
    "arm",
    ArmEntry,
    (
        ArmEntry(UNPRUNED, "Unpruned", "distilled from all real training images", "c-unpruned", 3),
        ArmEntry("static", "Static pruning", "distilled after dropping real images by their score", "c-static", 4, samples="scored"),
        ArmEntry(
            "adaptive",
            "Adaptive pruning",
            "distilled while leaving out real images with an extreme causal effect",
            "c-adaptive",
            5,
            adaptive=True,
        ),
        ArmEntry(
            "bilp",
            "BiLP",
            "distilled with both prunings, by score and by causal effect",
            "c-bilp",
            6,
            samples="scored",
            adaptive=True,
            otherwise="static",
        ),
        ArmEntry(
            "random_pruning",
            "Random pruning",
            "distilled from random real images, as many of each class as static pruning keeps",
            "c-random-pruning",
            2,
            samples=AS_MANY_RANDOM,
        ),
        ArmEntry(
            "oracle",
            "Oracle",
            "distilled from the real images whose label is right, which only somebody who knows the truth can tell",
            "c-oracle",
            1,
            samples="rightly_labeled",
        ),
        ArmEntry(DIRECT, _DIRECT.title, _DIRECT.meaning, _DIRECT.css, 0, samples="scored", distills=False),
    ),
)
Arm = Annotated[str, EntryName("bilp.config.arm_entries:ARMS")]


def leading(arms: Iterable[str]) -> str | None:
    """The arm of these that a page is about, the most pruned one; None if none of them was distilled."""
    known = [arm for arm in arms if arm in ARMS and ARMS[arm].distills]
    return max(known, key=lambda arm: ARMS[arm].place, default=None)
