"""Settings that belong to single methods: the experts and trajectories of MTT and TESLA, the alignment of CAFE."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from bilp.config.augmentations import ALL_FAMILIES, AugmentFamily
from bilp.config.base import SHARED, Count, Fraction, Frozen, GpuArithmetic, Positive, Rate, Seed, Several


class ExpertsConfig(Frozen):
    """Experts: trainings on real samples whose parameters after every epoch MTT and TESLA imitate; their network is distill.network."""

    by_rule: ClassVar[frozenset[str]] = SHARED | {"count", "epochs", "batch_size", "learning_rate", "augment"}

    count: Positive = 100
    """Independently seeded experts."""
    epochs: Positive = 50
    """Epochs of each expert; its parameters are kept before the first and after every one."""
    batch_size: Positive = 256
    """Mini-batch."""
    learning_rate: Rate = 0.01
    """Step size of SGD."""
    momentum: Fraction = 0.0
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight decay of SGD."""
    augment: tuple[AugmentFamily, ...] = ALL_FAMILIES
    """Augmentation, fresh parameters per image; empty is none."""
    gpu: GpuArithmetic = "float32"
    """Arithmetic on a GPU: float32, products in TensorFloat-32 (tf32), or these with channels last in memory."""
    seed: Seed = 0
    """Seed of the experts (expert k uses its own streams)."""


class TrajectoryConfig(Frozen):
    """MTT and TESLA: training on the synthetic images must lead where some epochs of an expert led."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"steps", "expert_epochs", "max_start", "batch", "step_size", "step_rate"})

    steps: Positive = 20
    """Training steps on the synthetic images."""
    expert_epochs: Positive = 2
    """Epochs of the expert that they shall make up for."""
    max_start: Count = 20
    """Last epoch of the expert that may be the starting point; it is drawn uniformly from 0 up to this one. The programs of MTT
    and TESLA draw below their max_start_epoch, so this is one less."""
    batch: Positive | None = None
    """Synthetic images per step, shuffled and without replacement; empty takes all of them."""
    step_size: Rate = 0.01
    """Step size of this training before it is learned."""
    step_rate: Annotated[float, Field(ge=0.0)] = 1e-5
    """Step size of SGD on that step size; 0 leaves it as it is."""
    step_momentum: Fraction = 0.5
    """Momentum of SGD on that step size."""

    @property
    def needed_epochs(self) -> int:
        """Epochs that an expert must have."""
        return self.max_start + self.expert_epochs


class AlignmentConfig(Frozen):
    """CAFE: means of feature maps are aligned layer by layer, and synthetic means must tell real samples apart."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"watched", "measured_per_class", "most_steps", "most_epochs"})

    shallow_weight: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight of every feature map but the last."""
    deep_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Weight of the last feature map, of its pooled form and of the flat features."""
    discrimination: Annotated[float, Field(ge=0.0)] = 0.01
    """Weight of the cross-entropy of real features classified by the synthetic means, summed over samples; 0 leaves it out."""
    watched: Several = 10
    """Accuracies looked back on by both of the rules that follow."""
    settled: Annotated[float, Field(ge=0.0, le=1.0)] = 0.04
    """A network is done with once its accuracy before the last image steps varied by less (lambda 1)."""
    moved: Annotated[float, Field(ge=0.0, le=1.0)] = 0.03
    """Its training between two image steps ends once its accuracy varied by more (lambda 2)."""
    measured_per_class: Positive = 128
    """Real training samples per class on which that accuracy is measured."""
    most_steps: Positive = 100
    """Image steps with one network at most."""
    most_epochs: Positive = 100
    """Epochs of training between two image steps at most."""
    decay_at: tuple[Fraction, ...] = (0.6, 0.8, 0.9)
    """Shares of the iterations after which the step size of the images is halved."""
