"""Settings of the adaptive level: what real samples are ranked by while distilling, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from bilp.config.base import Count, Fraction, Frozen, Positive, Several
from bilp.config.estimators import ESTIMATORS, EstimatorName
from bilp.config.words import DroppedShare, FractionOrWord
from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class ReselectScore:
    """What adaptive pruning ranks real samples by: the causal effect, or a substitute that it is compared with."""

    name: str
    noun: str
    """Its name in a sentence of the log."""
    title: str
    """Its name as the title of a section of the page."""
    word: str
    """Its name on the page."""
    meaning: str
    """Sentences for a reader of the page; the full stop is the page's."""
    substitute: str | None = None
    """Names the `bilp.distill.step.substitutes.Substitute` that is measured; None for the causal effect itself."""
    uniform: bool = False
    """Whether its values are uniform, so that a normal distribution of their logarithms would not even be tried."""


RESELECT_SCORES = Registry(
    "score of reselection",
    ReselectScore,
    (
        ReselectScore(
            "ite",
            "causal effect",
            "Causal effect",
            "effect",
            "The causal effect of a real image is how much the next change of the synthetic images would differ if this one image were "
            "missing. Images with almost no effect are redundant, images with an extreme one pull the synthetic images away from their "
            "class",
        ),
        ReselectScore(
            "feature_distance",
            "feature distance",
            "Feature distance in place of the causal effect",
            "distance",
            "In this comparison images are ranked by how far a network's features of them lie from the mean of their class",
            "bilp.distill.step.substitutes:FEATURE_DISTANCE",
        ),
        ReselectScore(
            "loss",
            "loss",
            "Loss in place of the causal effect",
            "loss",
            "In this comparison images are ranked by how wrong the network of the moment is about them",
            "bilp.distill.step.substitutes:LOSS",
        ),
        ReselectScore(
            "random",
            "random number",
            "Chance in place of the causal effect",
            "random number",
            "In this comparison images are ranked by random numbers: the control",
            "bilp.distill.step.substitutes:RANDOM",
            uniform=True,
        ),
    ),
)

ScoreName = Annotated[str, EntryName("bilp.config.reselect:RESELECT_SCORES")]


class ReselectConfig(Frozen):
    """Adaptive pruning: samples are reselected by their causal effect (ITE) while distilling."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"beta", "candidates_per_class"})

    beta: DroppedShare = 0.1
    """Share of the candidates dropped at each reselection, both tails together; 0 switches reselection off."""
    low_share: FractionOrWord = 0.5
    """Part of beta taken from the smallest effects; the rest is taken from the largest."""
    score: ScoreName = "ite"
    """What samples are ranked by: the causal effect (ite), or a cheap substitute to compare it with at the same beta:
    distance from the class's mean embedding, cross-entropy under the same network, or chance."""
    mode: Literal["refill", "shrink"] = "refill"
    """What a decision does to batches: refill draws full ones from the candidates that remain; shrink draws as if nothing
    were decided and takes dropped samples out, which saves their time. With an interval, shrink uses what is kept of the
    measured batch until the next decision."""
    interval: Count = 0
    """Iterations for which a decision taken inside a round stands; 0 decides at the boundaries of rounds only."""
    candidates_per_class: Several | None = None
    """Samples per class whose effect is measured at the boundary of a round, in turns; empty measures all of them."""
    networks: Positive = 1
    """Networks, drawn from the method's own distribution, over which a boundary effect is averaged."""
    threshold: Literal["normal", "quantile"] = "normal"
    """Thresholds from running mean and variance of the log effect (the paper's), or the empirical quantile."""
    momentum: Fraction = 0.9
    """Momentum of the running statistics."""
    minimum_per_class: Positive = 2
    """Candidates that always remain in a class."""
    estimator: EstimatorName = "auto"
    """Exact (cotangent), first order (taylor), estimated (sketch), by definition (oracle); auto: cotangent or, where it pays, sketch."""
    directions: Positive = 96
    """Estimator sketch: directions, shared by a class's synthetic images (at least 3 each), along which effects are measured."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers in which real samples pass the network while they are measured. bfloat16 is meant for GPUs; a batch whose
    order it would change is measured in float32 all the same. The synthetic images are always moved in float32."""

    @property
    def by_rank(self) -> bool:
        """Whether no class tries normal thresholds: each is cut at its own empirical quantiles throughout."""
        return self.threshold == "quantile" or RESELECT_SCORES[self.score].uniform

    @model_validator(mode="after")
    def _definition_is_exact(self) -> Self:
        if ESTIMATORS[self.estimator].by_definition and self.precision != "float32":
            raise ValueError(
                f"estimator {self.estimator} is the definition, in float32: set precision to float32, or use another estimator"
            )
        return self
