"""Settings of the adaptive level: what real samples are ranked by while distilling, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Fraction, Frozen, Positive, Rate, Several
from bilp.config.estimators import ESTIMATORS, EstimatorName
from bilp.config.words import AUTO, SEARCH, DroppedShare, FractionOrWord
from bilp.errors import ConfigError
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
    signed: bool = False
    """Whether its values have a sign, and the lowest are those of harmful samples: values are compared as they are, not by their
    logarithms."""
    low_part: float | None = None
    """Part of what is dropped that is always taken from the low end, whatever low_share says; None leaves it to low_share."""
    whole: bool = False
    """Whether it needs the synthetic images of all classes, at the boundary of a round: no shards, and no decisions inside a round."""
    needs_teacher: bool = False
    """Whether it asks a teacher, the one of evaluate.teacher."""
    needs_ranking: bool = False
    """Whether it asks how hard real samples are, by the criterion of static pruning, whatever that keeps."""

    @property
    def by_rank(self) -> bool:
        """Whether normal thresholds are not even tried."""
        return self.uniform or self.signed


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
        ReselectScore(
            "signed",
            "signed effect",
            "Signed causal effect (experimental)",
            "signed effect",
            "The signed effect of a real image is how the loss of a network that is trained on the synthetic images, on real images that "
            "were held out, would change if this one image were missing in the next step; where it is negative, the image does harm",
            signed=True,
            low_part=1.0,
        ),
        ReselectScore(
            "mistakes",
            "place among the mistakes",
            "Mistakes of the set in place of the causal effect",
            "place",
            "In this comparison the images of a class are ranked as CCFS (Chen et al. 2025) adds them to a set, and the last ones are "
            "dropped: first come those that a network which learned the synthetic images of the moment takes for another class and a "
            "teacher does not, then those that both classify rightly, then those that the teacher takes for another class; the easier "
            "ones first within each of the three",
            "bilp.distill.step.mistakes:MISTAKES",
            uniform=True,
            low_part=0.0,
            whole=True,
            needs_teacher=True,
            needs_ranking=True,
        ),
    ),
)

ScoreName = Annotated[str, EntryName("bilp.config.reselect:RESELECT_SCORES")]


@dataclass(frozen=True)
class ReselectMode:
    """What a decision does to the batches of real samples."""

    name: str
    weighs: bool = False
    """Whether every sample stays and has a weight, instead of some being dropped."""
    shrinks: bool = False
    """Whether batches are drawn as if nothing were decided, and dropped samples are taken out."""


RESELECT_MODES = Registry(
    "mode of reselection", ReselectMode, (ReselectMode("refill"), ReselectMode("shrink", shrinks=True), ReselectMode("weight", weighs=True))
)

ModeName = Annotated[str, EntryName("bilp.config.reselect:RESELECT_MODES")]


class MistakesConfig(Frozen):
    """The training on the synthetic images of a network, distill.network, whose mistakes are looked for. The defaults are those by which
    DC and DM test a set."""

    epochs: Positive = 300
    """Passes over the synthetic images."""
    batch_size: Positive = 256
    """Mini-batch."""
    learning_rate: Rate = 0.01
    """Step size of SGD; half-way it falls to a tenth."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of SGD."""


class ReselectConfig(Frozen):
    """Adaptive pruning: samples are reselected by their causal effect (ITE) while distilling."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"beta", "candidates_per_class"})
    later: ClassVar[frozenset[str]] = frozenset({"temperature", "held_out_steps", "before_initialization", "mistakes"})

    beta: DroppedShare = 0.1
    """Share of the candidates dropped at each reselection, both tails together; 0 switches reselection off. auto: found from the
    static scores; search: tried out on training images that are held out."""
    low_share: FractionOrWord = 0.5
    """Part of beta taken from the smallest effects; the rest is taken from the largest. auto and search as for beta."""
    score: ScoreName = "ite"
    """What samples are ranked by: the causal effect (ite), or a cheap substitute to compare it with at the same beta:
    distance from the class's mean embedding, cross-entropy under the same network, or chance. signed is experimental: the
    change of a held-out loss, of which the harmful end alone is dropped. mistakes keeps what the synthetic images teach wrongly
    and a teacher knows, the easiest first."""
    mode: ModeName = "refill"
    """What a decision does to batches: refill draws full ones from the candidates that remain; shrink draws as if nothing
    were decided and takes dropped samples out, which saves their time. With an interval, shrink uses what is kept of the
    measured batch until the next decision. weight drops nothing: extreme samples count less in the mean."""
    temperature: Rate | None = None
    """Mode weight: a sample whose score lies z standard deviations off counts exp(-z / temperature). Empty: what makes the
    effective number of samples that of dropping beta. Off at the high end alone with low_share 0, at both with 0.5."""
    interval: Count = 0
    """Iterations for which a decision taken inside a round stands; 0 decides at the boundaries of rounds only."""
    candidates_per_class: Several | None = None
    """Samples per class whose effect is measured at the boundary of a round, in turns; empty measures all of them."""
    before_initialization: bool = False
    """Whether the first decision comes before the initial images: it is measured at initial images that are drawn as always, and
    these are then drawn anew from what it keeps. For methods and settings that begin at real images."""
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
    held_out_steps: Positive = 1
    """Score signed: steps of a network on the synthetic images before its loss on held-out real images is taken."""
    mistakes: MistakesConfig = MistakesConfig()
    """Score mistakes: the training of the network whose mistakes count."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers in which real samples pass the network while they are measured. bfloat16 is meant for GPUs; a batch whose
    order it would change is measured in float32 all the same. The synthetic images are always moved in float32."""

    @property
    def by_rank(self) -> bool:
        """Whether no class tries normal thresholds: each is cut at its own empirical quantiles throughout."""
        return self.threshold == "quantile" or RESELECT_SCORES[self.score].by_rank

    @property
    def active(self) -> bool:
        """Whether samples are reselected at all."""
        return self.beta != 0.0

    @property
    def decides_first(self) -> bool:
        """Whether the first decision is about what the synthetic images begin at, too."""
        return self.active and self.before_initialization

    @property
    def words(self) -> tuple[str, ...]:
        """The settings that are words so far, whose numbers have to be found."""
        return tuple(name for name in ("beta", "low_share") if getattr(self, name) in (AUTO, SEARCH))

    @property
    def asks_auto(self) -> bool:
        """Whether a number is to be found from the static scores."""
        return AUTO in (self.beta, self.low_share)

    def require_numbers(self) -> None:
        """Raise ConfigError for words whose numbers have not been found."""
        _ = self.shares

    @property
    def shares(self) -> tuple[float, float]:
        """beta and low_share. Raises ConfigError for words, which a pipeline turns into numbers."""
        if isinstance(self.beta, str) or isinstance(self.low_share, str):
            told = " and ".join(f"reselect.{name} = {getattr(self, name)}" for name in self.words)
            raise ConfigError(f"{told}: a pipeline (bilp run, bilp.run) finds the numbers; give numbers here")
        return self.beta, self.low_share

    @property
    def low_part(self) -> float:
        """Part of what is dropped that is taken from the low end. Raises ConfigError as `shares`."""
        always = RESELECT_SCORES[self.score].low_part
        return self.shares[1] if always is None else always

    @model_validator(mode="after")
    def _definition_is_exact(self) -> Self:
        if ESTIMATORS[self.estimator].by_definition and self.precision != "float32":
            raise ValueError(
                f"estimator {self.estimator} is the definition, in float32: set precision to float32, or use another estimator"
            )
        return self
