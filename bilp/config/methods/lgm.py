"""LGM, linear gradient matching under a frozen encoder (Cazenavette, Torralba & Sitzmann 2025)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Frozen, Location, Positive
from bilp.config.methods.idc import IdcConfig
from bilp.config.methods.spec import Cell, Method


class LinearConfig(Frozen):
    """LGM: gradients of a linear classifier on the features of an encoder that nothing trains."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"copies", "pyramid", "grow_every"})

    head_deviation: Annotated[float, Field(ge=0.0)] = 0.01
    """Standard deviation of the linear classifier's weights, drawn anew for every iteration; 0 is the deterministic variant, in which
    every class is equally likely and centroids of classes are compared."""
    copies: Positive = 10
    """Copies of every synthetic image in an image step, each with an augmentation of its own."""
    pyramid: bool = True
    """Whether images are sums of levels from 1x1 pixel up, through a sigmoid; otherwise their pixels are stepped."""
    grow_every: Positive = 200
    """Iterations after which the pyramid gets a level of twice the side, until it has that of the images."""
    encoder: str | None = None
    """A network of torchvision, such as resnet18, that is the encoder; empty takes those of idc.pretrained."""
    weights: Location | None = None
    """Its weights, path or URI: safetensors, or a state of torch.save, of which nothing is executed."""
    side: Count = 224
    """Height and width to which images are resized in front of it; 0 leaves them as they are."""
    features: Location | None = None
    """Features of all training images under it, a Parquet file with columns sample_id and features; empty computes them."""

    @model_validator(mode="after")
    def _encoder_is_whole(self) -> Self:
        if (self.encoder is None) != (self.weights is None):
            raise ValueError("linear.encoder and linear.weights belong together: set both or neither")
        if self.features is not None and self.weights is None:
            raise ValueError("linear.features are those of an encoder that is supplied: set linear.encoder and linear.weights, too")
        return self


def _values(cell: Cell) -> dict[str, Any]:
    """Of the paper's program: Adam 2e-3, 5000 iterations, ten copies, three of a thousand classes.

    The encoder that is trained here, where the paper takes published ones, learns without CutMix, as networks that classify usually do.
    """
    copies = 3 if cell.dataset == "imagenet1k" else 10
    distill = {
        "iterations": 5000,
        "learning_rate": 2e-3,
        "init": "noise",
        "idc": {"cutmix": 0.0, "pretrained": {"networks": 1, "epochs": 30, "learning_rate": 0.01}},
        "linear": {"copies": copies, "grow_every": 200},
    }
    return {"distill": distill}


def _small(cell: Cell) -> dict[str, Any]:
    """Pixels of real images: networks that are trained on these from scratch do better than on pyramids of few and small images."""
    linear = {"copies": 4, "pyramid": False, "grow_every": 20}
    return {"distill": {"iterations": 300, "learning_rate": 1e-2, "init": "real", "linear": linear}}


LGM = Method(
    name="lgm",
    title="linear gradient matching (LGM)",
    paper="Cazenavette et al. 2025",
    venue="NeurIPS 2025, arXiv 2511.16674",
    paper_title="Dataset Distillation for Pre-Trained Self-Supervised Vision Models",
    settings={"idc": IdcConfig, "linear": LinearConfig},
    values=_values,
    values_for="on {dataset}",
    small=_small,
    one_step=True,
    begins_at_init=lambda distill: not distill.linear.pyramid,
    pretrained="idc",
    weighs=True,
    estimators=("auto", "cotangent", "oracle"),
    measures="bilp.distill.loops.lgm:measure",
    brief={"idc": {"pretrained": {"networks": 0}}},
    matching="bilp.matching:heads",
    loop="bilp.distill.loops.lgm:distill",
    schedule="bilp.distill.step.schedule:untrained",
    networks="bilp.distill.loops.lgm:draw_encoder",
    carried="bilp.distill.step.levels:require_levels",
    work="bilp.costs.method_work:head_gradients",
    round_work="bilp.costs.method_work:encoded",
)

METHODS = (LGM,)
