"""Settings of static pruning: which samples are kept."""

from __future__ import annotations

from fractions import Fraction as Fractional
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Dropped, Fraction, Frozen, Location, Positive, Seed
from bilp.config.criteria import CRITERIA, DEFAULT_CRITERION, CriterionName, Dropping, dropped_end
from bilp.config.rules import DEFAULT_RULE, RULES, RuleName
from bilp.config.words import AUTO, KeptShare


def _dropped_end(known: dict[str, Any]) -> Dropping:
    return dropped_end(str(known.get("criterion")))


class PruneConfig(Frozen):
    """Static pruning: which samples of each class survive their score."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"criterion", "drop", "keep", "hardest", "floor_per_class", "minimum_per_class", "seed"})
    later: ClassVar[frozenset[str]] = frozenset({"rule", "low_share", "strata", "hardest", "neighbors", "gamma", "scores"})

    criterion: CriterionName = DEFAULT_CRITERION
    """Score that ranks the samples; random is the control, external reads a published list."""
    rule: RuleName = DEFAULT_RULE
    """How the samples to keep follow from the scores: an end of the ranking dropped, strata of the score, the middle, coverage, messages
    between neighbors, or a mixture."""
    drop: Dropping = Field(default_factory=_dropped_end)
    """Which end of the ranking is dropped, or both: high unless given, but low for aum, cad and monte_carlo."""
    low_share: Fraction = 0.5
    """Of what drop both drops, the share that is taken from the low end."""
    keep: KeptShare = 0.5
    """Share of each class that is kept (1 - alpha); auto keeps what a mixture of the scores takes for well labeled."""
    band: tuple[Fraction, Fraction] | None = None
    """Keep this percentile band of the ascending ranking instead, such as [0.1, 0.6]; overrides keep and drop."""
    strata: Positive = 50
    """strata: ranges of equal width that scores are divided into."""
    hardest: Dropped = 0.0
    """strata and graph: share of the hardest samples that is dropped beforehand."""
    neighbors: Positive = 5
    """graph: nearest neighbors that each sample exchanges messages with."""
    gamma: Annotated[float, Field(ge=0.0)] = 0.1
    """graph: how fast what a picked sample takes from its neighbors falls with their distance."""
    per_class: bool = True
    """Rank within each class; false ranks the whole set at once (can unbalance classes)."""
    floor_per_class: Count = 0
    """Best-ranked samples of each class that a ranking of the whole set keeps in any case; the total stays the same."""
    minimum_per_class: Positive = 2
    """Refuse a selection that leaves a class with fewer samples."""
    score_list: Location | None = None
    """URI of a JSON list of numbers in data set order (the format of the paper's preview code), for criterion external."""
    seed: Seed = 0
    """Seed of criterion random and of rules that draw."""
    scores: Location | None = None
    """URI of an atlas of scores, or of an entry of one, in place of a scoring of our own."""

    @property
    def ranking(self) -> PruneConfig:
        """The settings of a selection that keeps every sample and ranks them as this one does: equal for all that rank alike."""
        ranked_by = {name: getattr(self, name) for name in ("criterion", "score_list", "seed", "scores")}
        return PruneConfig(**ranked_by, keep=1.0, minimum_per_class=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if CRITERIA[self.criterion].from_list != (self.score_list is not None):
            raise ValueError("criterion external and score_list belong together: set both or neither")
        if self.scores is not None and CRITERIA[self.criterion].measure is None:
            raise ValueError(f"criterion {self.criterion} ranks by no scores: leave out scores, or choose another criterion")
        if self.band is not None and not self.band[0] < self.band[1]:
            raise ValueError(f"band {list(self.band)} is empty: the first value must be below the second")
        if self.floor_per_class and (self.per_class or self.band is not None or self.drop == "both"):
            raise ValueError(
                f"floor_per_class = {self.floor_per_class} is for per_class = false without band, where one end is dropped: remove it"
            )
        return self

    @model_validator(mode="after")
    def _rule_can(self) -> Self:
        rule = RULES[self.rule]
        for name in sorted({name for entry in RULES.values() for name in entry.reads} - rule.reads):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"rule {self.rule} does not read {name}: remove it")
        if not isinstance(self.keep, str) and Fractional(repr(self.keep)) + Fractional(repr(self.hardest)) > 1:
            raise ValueError(f"keep = {self.keep:g} and hardest = {self.hardest:g} exceed 1 together: lower one of them")
        if self.drop == "both" and not rule.tails:
            raise ValueError(f"rule {self.rule} asks which end is the hard one, so drop is high or low: remove drop = 'both'")
        return self

    @model_validator(mode="after")
    def _auto_can(self) -> Self:
        if self.keep != AUTO:
            if RULES[self.rule].found:
                raise ValueError(f"rule {self.rule} finds the share by itself: set keep to {AUTO}")
            return self
        criterion = CRITERIA[self.criterion]
        if criterion.mixed is None:
            able = ", ".join(name for name, entry in CRITERIA.items() if entry.mixed is not None)
            raise ValueError(f"keep auto fits a mixture to the scores, which criterion {self.criterion} does not allow: use one of {able}")
        if not RULES[self.rule].mixture:
            raise ValueError(f"keep auto says which samples stay, so it goes with no rule {self.rule}: give keep as a number")
        if self.band is not None or self.drop != criterion.drop:
            raise ValueError(f"keep auto drops the hard end alone, which is {criterion.drop} of {self.criterion}: remove band and drop")
        return self
