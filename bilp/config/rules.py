"""Rules of static pruning: how the samples that are kept follow from the scores. One entry each; their names are tested nowhere else.

To add one, write its function (`bilp.pruning.rules` says what it is given and what it returns) and its entry. A setting that
it alone reads is a field of `PruneConfig`, listed in `later` there and in `reads` here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class SelectionRule:
    """How static pruning chooses, given a score for every sample."""

    name: str
    title: str
    """Its name on the page."""
    meaning: str
    """What stays, as a clause after "In each class, "; may hold `{keep}`, and names of settings that it reads."""
    chooser: str
    """"module:name" of the function that chooses."""
    reads: frozenset[str] = frozenset()
    """Settings of pruning that this rule reads beside criterion, drop and keep, and that are refused with rules that do not."""
    paper: str = ""
    """Where it was published."""
    spread: bool = False
    """Whether kept and dropped samples lie among each other in the ranking, so that there is no threshold."""
    tails: bool = False
    """Whether it cuts at ends of the ranking, so that the number of images per class decides which (`bilp.config.direction`)."""
    mixture: bool = False
    """Whether it can keep what a mixture takes for the low component: `keep: auto`."""
    found: bool = False
    """Whether it finds the share to keep by itself, so that keep must be auto."""
    features: bool = False
    """Whether it needs features of a trained network."""
    hardest: tuple[tuple[float, float], ...] = ()
    """Of the hardest samples, the share that its paper drops beforehand up to each share to keep: (most keep, hardest), ascending."""
    draws: bool = False
    """Whether it draws random numbers, so that the seed counts."""
    version: int = 1
    """Raised when it chooses other samples by the same scores and settings."""

    def values(self, keep: float | str) -> dict[str, Any]:
        """What its paper sets for a share to keep, as settings of pruning; nothing for a word."""
        found = [] if isinstance(keep, str) else [hardest for most, hardest in self.hardest if keep <= most]
        return {"prune": {"hardest": found[0]}} if found else {}


DEFAULT_RULE = "tail"

RULES = Registry(
    "rule of pruning",
    SelectionRule,
    (
        SelectionRule(
            DEFAULT_RULE,
            "one end dropped",
            "",
            "bilp.pruning.rules.tails:choose",
            frozenset({"band", "per_class", "floor_per_class", "low_share"}),
            "BiLP (Xu et al. 2024)",
            tails=True,
            mixture=True,
        ),
        SelectionRule(
            "strata",
            "strata of the score",
            "the {hardest} hardest are dropped, the range of the other scores is cut into {strata} strata of equal width, and {keep} of "
            "the class is drawn from them in equal numbers as far as their sizes allow",
            "bilp.pruning.rules.strata:choose",
            frozenset({"strata", "hardest", "per_class"}),
            "Zheng et al. 2023",
            hardest=((0.1, 0.3), (0.2, 0.2)),
            spread=True,
            draws=True,
        ),
        SelectionRule(
            "medium",
            "around the median",
            "{keep} with the scores in the middle of the ranking stay",
            "bilp.pruning.rules.medium:choose",
            frozenset({"per_class"}),
        ),
        SelectionRule(
            "facility_location",
            "facility location",
            "{keep} are picked one by one, each so that what is picked covers the features of the class best, where the score says how "
            "much each image counts",
            "bilp.pruning.rules.covering:choose",
            paper="R-CAD (arXiv 2604.18811)",
            spread=True,
            features=True,
        ),
        SelectionRule(
            "graph",
            "messages between neighbors",
            "the {hardest} hardest are dropped, and {keep} of the class are picked one by one, the most difficult image with difficult "
            "neighbors first, where each of the {neighbors} nearest neighbors of what is picked loses priority",
            "bilp.pruning.rules.graph:choose",
            frozenset({"hardest", "neighbors", "gamma"}),
            "D2 (Maharana et al. 2024)",
            hardest=((0.1, 0.4),),
            spread=True,
            features=True,
        ),
        SelectionRule(
            "low_component",
            "the low component of a mixture",
            "",
            "bilp.pruning.rules.low_component:choose",
            frozenset({"per_class"}),
            "RDC (Kim & Song 2025)",
            mixture=True,
            found=True,
        ),
    ),
)

RuleName = Annotated[str, EntryName("bilp.config.rules:RULES")]
