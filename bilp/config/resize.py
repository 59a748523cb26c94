"""Settings of resizing, which takes images out of a finished synthetic set, and the registry of its rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from bilp.config.augmentations import AugmentFamily, ImageOperation
from bilp.config.base import SHARED, Fraction, Frozen, GpuArithmetic, GpuRevision, Positive, Rate, Seed
from bilp.config.evaluate import EvaluateConfig
from bilp.config.network import NetworkConfig
from bilp.registry import EntryName, Registry

AUGMENTING = ("augment_each", "augment_always", "augment", "augment_after", "cutmix")
TRAINING = ("momentum", "weight_decay", "learning_rate", *AUGMENTING)
"""Settings of the training that are those of an evaluation."""


@dataclass(frozen=True)
class ResizeRule:
    """How the images that stay are chosen, the same number of each class."""

    name: str
    meaning: str
    """What stays, as a clause after "Of each class "."""
    scorer: str
    """"module:name" of what scores decoded images (`bilp.resizing.image_scores.Scorer`); the lowest scores stay."""
    reads: frozenset[str]
    """Settings of resizing that it reads beside ipc."""
    paper: str = ""
    """Where it was published."""
    version: int = 1
    """Raised when it chooses other images under the same settings."""


DEFAULT_RULE = "yoco"

RESIZE_RULES = Registry(
    "rule of resizing",
    ResizeRule,
    (
        ResizeRule(
            DEFAULT_RULE,
            "the images with the lowest error norm in the most accurate passes of a training on the set stay",
            "bilp.resizing.image_scores:error_norms",
            frozenset({"epochs", "best_epochs", "network", "batch_size", *TRAINING, "gpu", "gpu_revision", "seed"}),
            "YOCO (He et al. 2023)",
        ),
        ResizeRule("random", "random images stay: the control", "bilp.resizing.image_scores:random_numbers", frozenset({"seed"})),
    ),
)
ResizeRuleName = Annotated[str, EntryName("bilp.config.resize:RESIZE_RULES")]


class ResizeConfig(Frozen):
    """Resizing: fewer images per class out of a finished synthetic set, without distilling again."""

    later: ClassVar[frozenset[str]] = frozenset({"gpu_revision"})
    by_rule: ClassVar[frozenset[str]] = SHARED | {"network", *TRAINING}

    ipc: Positive
    """Images per class that stay."""
    rule: ResizeRuleName = DEFAULT_RULE
    """How these are chosen: by their error norm while a network is trained on the set (yoco), or at random."""
    epochs: Positive = 100
    """yoco: passes of the training over the set."""
    best_epochs: Positive = 10
    """yoco: of these, how many count, those after which most images of the set are classified correctly."""
    network: NetworkConfig = NetworkConfig()
    """yoco: network that is trained."""
    batch_size: Positive = 64
    """yoco: mini-batch."""
    learning_rate: Rate = 0.01
    """yoco: step size of SGD, which stays as it is."""
    momentum: Fraction = 0.9
    """yoco: momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """yoco: weight decay."""
    augment_each: tuple[ImageOperation, ...] = ()
    """yoco: as in evaluation, like the next four."""
    augment_always: tuple[AugmentFamily, ...] = ()
    augment: tuple[AugmentFamily, ...] = ()
    augment_after: tuple[AugmentFamily, ...] = ()
    cutmix: Fraction = 0.0
    gpu: GpuArithmetic = "float32"
    gpu_revision: GpuRevision = 0
    seed: Seed = 0
    """Seed of the training, or of the draw."""

    @model_validator(mode="after")
    def _epochs_fit(self) -> Self:
        if self.best_epochs > self.epochs:
            raise ValueError(f"best_epochs = {self.best_epochs} exceeds epochs = {self.epochs}: lower it or train longer")
        return self

    @classmethod
    def like(cls, evaluate: EvaluateConfig, **given: Any) -> Self:
        """Trained as the first network of an evaluation is; `given` are the settings that it does not have, or that differ.

        Mini-batches stay those of the default, smaller than an evaluation's: there are few images.
        """
        shared = {name: getattr(evaluate, name) for name in (*TRAINING, "gpu", "gpu_revision", "seed")}
        return cls.model_validate({**shared, "network": evaluate.networks[0], **given})
