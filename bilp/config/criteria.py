"""Facts about the criteria of static pruning that the settings, the stages and the page share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Criterion = Literal[
    "loss_init", "loss_converge", "el2n", "forgetting", "aum", "grand", "herding", "k_center", "monte_carlo", "random", "external"
]
Measure = Literal["trajectory", "herding", "k_center", "monte_carlo"]


@dataclass(frozen=True)
class CriterionFacts:
    """One criterion: the end of its ranking that is dropped by default, and what a scoring must measure for it, if anything."""

    drop: Literal["high", "low"]
    measure: Measure | None


# BiLP drops what is hard to fit and what comes with low accuracy (its preview code: LossInit_large, LossConverge_large,
# MonteCarlo_small), so every measure of difficulty drops its hard end here. The papers of EL2N, GraNd and forgetting
# prune for training on what is left of many samples and drop the easy end: set `drop` to follow them.
CRITERION_FACTS: dict[str, CriterionFacts] = {
    "loss_init": CriterionFacts("high", "trajectory"),
    "loss_converge": CriterionFacts("high", "trajectory"),
    "el2n": CriterionFacts("high", "trajectory"),
    "forgetting": CriterionFacts("high", "trajectory"),
    "aum": CriterionFacts("low", "trajectory"),  # a small margin is a hard or wrongly labeled sample
    "grand": CriterionFacts("high", "trajectory"),
    "herding": CriterionFacts("high", "herding"),  # the score is the place in the order of picking
    "k_center": CriterionFacts("high", "k_center"),
    "monte_carlo": CriterionFacts("low", "monte_carlo"),
    "random": CriterionFacts("high", None),
    "external": CriterionFacts("high", None),
}


def dropped_end(criterion: str) -> Literal["high", "low"]:
    """The end of a criterion's ranking that is dropped unless told otherwise; "high" for a criterion that does not exist."""
    facts = CRITERION_FACTS.get(criterion)
    return facts.drop if facts else "high"


def measure_of(criterion: str) -> Measure | None:
    """What a scoring must measure for a criterion; None if it needs no scoring (or does not exist)."""
    facts = CRITERION_FACTS.get(criterion)
    return facts.measure if facts else None
