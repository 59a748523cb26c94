"""NCFM, neural characteristic function matching (Wang et al. 2025), with the values of its program's configuration files."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Fraction, Frozen, Kept, Positive, Rate
from bilp.config.methods.pretrained import PretrainedConfig
from bilp.config.methods.spec import Cell, Method

Weight = Annotated[float, Field(ge=0.0)]


class TrainedFurtherConfig(PretrainedConfig):
    """NCFM: networks that are trained on real images beforehand, for longer and with a step size that falls."""

    # All of its fields are part of keys: at its own defaults it is another training than that of its base class.
    later: ClassVar[frozenset[str]] = frozenset()
    by_rule: ClassVar[frozenset[str]] = frozenset({"networks", "epochs", "batch_size"})

    epochs: Positive = 60
    """Epochs of their training on all real images that take part."""
    learning_rate: Rate = 0.01
    """Step size of its SGD, whose momentum is network_momentum of the same method."""
    weight_decay: Weight = 5e-4
    """Weight decay of its SGD."""
    decay_at: tuple[Fraction, ...] = (2 / 3, 5 / 6)
    """Shares of the epochs after which the step size is multiplied by decay_factor; empty keeps it."""


class CharacteristicConfig(Frozen):
    """NCFM: characteristic functions of features under networks that are trained on real images to a random degree."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"frequencies", "patience", "optimizer"})

    frequencies: Positive = 4096
    """Frequencies at which the characteristic functions are compared, drawn anew for each image step."""
    amplitude: Weight = 0.5
    """Weight of the squared difference of amplitudes."""
    phase: Weight = 0.5
    """Weight of the difference of phases; equal to that of amplitudes, the two are a distance in the complex plane."""
    scale: Rate = 300.0
    """Factor of the mean over frequencies."""
    calibration: Weight = 1.0
    """Weight of the cross-entropy of the synthetic images under the trained network, which has a step of its own after each image step;
    0 leaves it out, and so does pretrained.networks = 0."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """What steps the pixels: AdamW, or SGD with distill.momentum and without weight decay."""
    weight_decay: Weight = 5e-4
    """Weight decay of AdamW on the pixels, towards black."""
    patience: Count = 500
    """Image steps without a lower loss of a class after which the step size of its images is lowered; 0 never lowers it."""
    decay: Kept = 0.5
    """What the step size is multiplied by then."""
    network_momentum: Fraction = 0.9
    """Momentum of the SGD that trains networks beforehand."""
    cutmix: Fraction = 0.5
    """Share of its mini-batches that are mixed by cutting and pasting; cutout is left out of their augmentation then."""
    pretrained: TrainedFurtherConfig = TrainedFurtherConfig()
    """Networks that are trained beforehand: each iteration draws one, and its weights lie anywhere between the first and the trained
    ones. 0 gives each iteration a new random network."""

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if self.amplitude == self.phase == 0.0:
            raise ValueError("amplitude and phase both have weight 0, so nothing is matched: set one of them above 0")
        return self


# The values of the program's configuration files are those of all its data sets but for what follows. Other data get CIFAR-10's.
SMALL_BATCH = frozenset({"tiny_imagenet", "imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk"})
SUBSET_SIDE = 128


def _values(cell: Cell) -> dict[str, Any]:
    """The step size is that of the files; see `bilp.distill.loops.ncfm` for what a step is here and there."""
    distill: dict[str, Any] = {
        "iterations": 20000,
        "learning_rate": 0.01,
        "batch_real": 128 if cell.dataset in SMALL_BATCH else 1024,
        "init": "real",
        "augment": ["color", "crop", "cutout"],
        "decode": {"factor": 2},
        "characteristic": {
            "optimizer": "sgd" if (cell.dataset, cell.ipc) == ("cifar100", 10) else "adamw",
            "pretrained": {"networks": 20, "epochs": 80 if cell.side >= SUBSET_SIDE else 60},
        },
    }
    # A vector of 8192 numbers is pulled back for every sample, so samples take turns.
    return {"distill": distill, "reselect": {"candidates_per_class": 1024}}


def _small(cell: Cell) -> dict[str, Any]:
    """Images of 8x8 are too small to be cut into parts: few networks, short trainings, fewer frequencies."""
    trained = {"networks": 4, "epochs": 10, "batch_size": 64}
    distill = {
        "iterations": 200,
        "batch_real": 256,
        "decode": {"factor": 1},
        "characteristic": {"frequencies": 1024, "patience": 100, "pretrained": trained},
    }
    return {"distill": distill}


NCFM = Method(
    name="ncfm",
    title="characteristic function matching (NCFM)",
    paper="Wang et al. 2025",
    venue="CVPR 2025, arXiv 2502.20653",
    paper_title="Dataset Distillation with Neural Characteristic Function: A Minmax Perspective",
    settings={"characteristic": CharacteristicConfig},
    values=_values,
    values_for="on {dataset} at ipc {ipc}",
    small=_small,
    protocol="ncfm",
    decodes=True,
    pretrained="characteristic",
    augmentation="combined",
    independent_with={},
    weighs=True,
    brief={"characteristic": {"pretrained": {"networks": 0}}},
    matching="bilp.matching:characteristic",
    loop="bilp.distill.loops.ncfm:distill",
    schedule="bilp.distill.step.schedule:features_of_several_steps",
    networks="bilp.distill.loops.ncfm:draw_network_between",
    carried="bilp.distill.step.pixel_steps:require_carried",
    carries="bilp.distill.step.pixel_steps:carried_forms",
    work="bilp.costs.method_work:characteristic",
)

METHODS = (NCFM,)
