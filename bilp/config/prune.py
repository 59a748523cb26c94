"""Settings of the static level: what is recorded of samples, and which of them are kept."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bilp.config.base import SHARED, Count, Fraction, Frozen, GpuArithmetic, Kept, Location, Positive, Rate, Seed
from bilp.config.criteria import CRITERION_FACTS, Criterion, Measure, dropped_end
from bilp.config.defaults import criterion_rules
from bilp.config.network import NetworkConfig
from bilp.config.sources import UNKNOWN_DATA


def _trials(known: dict[str, Any]) -> int:
    return _by_measure(known, "trials")


def _epochs(known: dict[str, Any]) -> int:
    return _by_measure(known, "epochs")


def _by_measure(known: dict[str, Any], name: str) -> int:
    """What a pipeline takes for data that no rule knows by name; 5 for the measure of most criteria."""
    measure = known.get("measure")
    rules = criterion_rules(measure, UNKNOWN_DATA, None)["score"] if measure in CRITERION_FACTS else {}
    return int(rules.get(name, 5))


def _early_end(known: dict[str, Any]) -> int:
    return min(5, int(known.get("epochs", 5)))


def _dropped_end(known: dict[str, Any]) -> Literal["high", "low"]:
    return dropped_end(str(known.get("criterion")))


class ScoreConfig(Frozen):
    """Static scoring: short training trials that record what networks make of every sample."""

    by_rule: ClassVar[frozenset[str]] = SHARED | {
        "measure",
        "trials",
        "epochs",
        "init_epochs",
        "early_from",
        "early_to",
        "gradient_norm",
        "batch_size",
    }

    measure: Measure = "trajectory"
    """What is recorded: every sample's course over the epochs, its place in a pick order, or the worth of random subsets."""
    trials: Positive = Field(default_factory=_trials)
    """Independently seeded trainings (for monte_carlo: random subsets); their spread is the uncertainty of a score."""
    epochs: Positive = Field(default_factory=_epochs)
    """Epochs of each trial."""
    init_epochs: Positive = 5
    """loss_init is the mean loss after the first init_epochs epochs."""
    converge_epochs: Positive = 1
    """loss_converge is the mean loss after the last converge_epochs epochs."""
    early_from: Positive = 1
    """el2n and grand are means over the epochs early_from ..."""
    early_to: Positive = Field(default_factory=_early_end)
    """... to early_to, both included, counted from 1."""
    gradient_norm: Literal["off", "last_layer", "all"] = "off"
    """What grand is the gradient norm of: nothing, the last layer (in the same pass), or all weights (a pass more per epoch)."""
    subset_share: Annotated[float, Field(gt=0.0, le=0.5)] = 0.1
    """monte_carlo: share of each class in a random subset; 1 / subset_share subsets, rounded, share out all samples."""
    held_out: Annotated[float, Field(gt=0.0, le=0.5)] = 0.1
    """monte_carlo: share of each class, outside of the subset and new for each, on which accuracy is measured."""
    network: NetworkConfig = NetworkConfig()
    """Network that is trained."""
    batch_size: Positive = 256
    """Mini-batch of the training."""
    learning_rate: Rate = 0.01
    """Step size of SGD."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of SGD."""
    gpu: GpuArithmetic = "float32"
    """Arithmetic on a GPU: float32, products in TensorFloat-32 (tf32), or these with channels last in memory."""
    seed: Seed = 0
    """Seed of the trials (trial k uses its own stream)."""

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        for name in ("init_epochs", "converge_epochs", "early_to"):
            if getattr(self, name) > self.epochs:
                raise ValueError(f"{name} = {getattr(self, name)} exceeds epochs = {self.epochs}: lower it or train longer")
        if self.early_from > self.early_to:
            raise ValueError(f"early_from = {self.early_from} lies behind early_to = {self.early_to}: lower early_from")
        if self.measure == "monte_carlo" and self.trials < self.subsets_per_round:
            raise ValueError(
                f"trials = {self.trials} subsets of subset_share = {self.subset_share:g} leave samples out: "
                f"set trials to {self.subsets_per_round} or more, or raise subset_share"
            )
        return self

    @property
    def subsets_per_round(self) -> int:
        """Subsets of monte_carlo that share out all samples among them."""
        return round(1 / self.subset_share)


class PruneConfig(Frozen):
    """Static pruning: which samples of each class survive their score."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"drop", "keep", "floor_per_class", "minimum_per_class", "seed"})

    criterion: Criterion = "loss_init"
    """Score that ranks the samples; random is the control, external reads a published list."""
    drop: Literal["high", "low"] = Field(default_factory=_dropped_end)
    """Which end of the ranking is dropped: high unless given, but low for aum and monte_carlo."""
    keep: Kept = 0.5
    """Share of each class that is kept (1 - alpha)."""
    band: tuple[Fraction, Fraction] | None = None
    """Keep this percentile band of the ascending ranking instead, such as [0.1, 0.6]; overrides keep and drop."""
    per_class: bool = True
    """Rank within each class; false ranks the whole set at once (can unbalance classes)."""
    floor_per_class: Count = 0
    """Best-ranked samples of each class that a ranking of the whole set keeps in any case; the total stays the same."""
    minimum_per_class: Positive = 2
    """Refuse a selection that leaves a class with fewer samples."""
    score_list: Location | None = None
    """URI of a JSON list of numbers in data set order (the format of the paper's preview code), for criterion external."""
    seed: Seed = 0
    """Seed of criterion random."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.criterion == "external") != (self.score_list is not None):
            raise ValueError("criterion external and score_list belong together: set both or neither")
        if self.band is not None and not self.band[0] < self.band[1]:
            raise ValueError(f"band {list(self.band)} is empty: the first value must be below the second")
        if self.floor_per_class and (self.per_class or self.band is not None):
            raise ValueError(f"floor_per_class = {self.floor_per_class} is for per_class = false without band: remove it")
        return self
