"""Settings of static scoring: what is recorded of the samples."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bilp.config.base import SHARED, Fraction, Frozen, GpuArithmetic, GpuRevision, Location, Positive, Rate, Seed
from bilp.config.measures import MEASURES, MeasureName
from bilp.config.network import NetworkConfig


def _trials(known: dict[str, Any]) -> int:
    measure = MEASURES.get(known.get("measure", ""))
    return (measure and measure.trials) or 5


def _epochs(known: dict[str, Any]) -> int:
    measure = MEASURES.get(known.get("measure", ""))
    return (measure and measure.epochs) or 5


def _early_end(known: dict[str, Any]) -> int:
    return min(5, int(known.get("epochs", 5)))


class ScoreConfig(Frozen):
    """Static scoring: short training trials that record what networks make of every sample."""

    later: ClassVar[frozenset[str]] = frozenset({"keep_networks", "extend", "gpu_revision"})

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

    measure: MeasureName = "trajectory"
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
    gpu_revision: GpuRevision = 0
    seed: Seed = 0
    """Seed of the trials (trial k uses its own stream)."""
    keep_networks: bool = False
    """Keep the network of every epoch of a trial, so that images which are added later can be scored without another training."""
    extend: Location | None = None
    """URI of a summary, or of a data set that was scored like this with keep_networks: only images that are new since then are scored."""

    @model_validator(mode="after")
    def _networks_can_be_kept(self) -> Self:
        if (self.keep_networks or self.extend is not None) and not MEASURES[self.measure].per_epoch:
            raise ValueError(f"keep_networks and extend are not for measure {self.measure}, which scores a set as a whole: leave them out")
        return self

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        for name in ("init_epochs", "converge_epochs", "early_to"):
            if getattr(self, name) > self.epochs:
                raise ValueError(f"{name} = {getattr(self, name)} exceeds epochs = {self.epochs}: lower it or train longer")
        if self.early_from > self.early_to:
            raise ValueError(f"early_from = {self.early_from} lies behind early_to = {self.early_to}: lower early_from")
        if MEASURES[self.measure].subsets and self.trials < self.subsets_per_round:
            raise ValueError(
                f"trials = {self.trials} subsets of subset_share = {self.subset_share:g} leave samples out: "
                f"set trials to {self.subsets_per_round} or more, or raise subset_share"
            )
        return self

    @property
    def subsets_per_round(self) -> int:
        """Subsets of monte_carlo that share out all samples among them."""
        return round(1 / self.subset_share)
