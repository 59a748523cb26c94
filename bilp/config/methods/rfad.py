"""RFAD, distillation with a random feature approximation of the neural network Gaussian process (Loo et al. 2022)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bilp.config.base import Frozen, Positive, Rate
from bilp.config.methods.frepo import FREPO, SMALL_EVALUATION, per_class, whitening
from bilp.config.methods.spec import Cell


class RandomFeaturesConfig(Frozen):
    """RFAD: ridge regression on features of several random networks, which are drawn anew for every iteration."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"networks", "transform_rate"})

    networks: Positive = 8
    """Random networks whose features the kernel is made of."""
    ridge: Rate = 5e-3
    """What is added to the kernel's diagonal, in units of its mean."""
    loss: Literal["platt", "squared"] = "platt"
    """Cross-entropy of the predictions times a factor that is learned (Platt scaling), or their squared error."""
    scale_rate: Annotated[float, Field(ge=0.0)] = 1e-2
    """Step size of the logarithm of that factor."""
    learn_labels: bool = True
    """Whether labels are learned with the images; otherwise they stay centered one-hot ones."""
    transform_rate: Annotated[float, Field(ge=0.0)] = 5e-5
    """Step size of the matrix, of as many rows and columns as an image has values, by which all images are multiplied; 0 has none."""


BATCH = 4 * 1280
"""Real samples of an iteration in RFAD's program, of all classes together."""
LARGEST_SIDE = 32
"""Side of the largest images for which the matrix is learned by default: it has 9.4 million values there, and sixteen times as many for
twice the side."""


def _values(cell: Cell) -> dict[str, Any]:
    """Those of its program (run_distillation.py of yolky/RFAD), which ends where validation says so: seldom after 10,000 steps."""
    distill = {
        "iterations": 10_000,
        "learning_rate": 1e-3,
        "batch_real": per_class(cell, BATCH),
        "init": "real",
        "augment": [],
        "network": {"width": 256, "norm": "none"},
        "random_features": {"transform_rate": 5e-5 if cell.side_or(LARGEST_SIDE) <= LARGEST_SIDE else 0.0},
    }
    return {"distill": distill, **whitening(cell)}


def _small(cell: Cell) -> dict[str, Any]:
    """Fewer and narrower networks, and a step size with which hundreds of steps are enough."""
    distill = {
        "iterations": 300,
        "learning_rate": 1e-2,
        "batch_real": 64,
        "network": {"width": 64, "norm": "none"},
        "random_features": {"networks": 4, "transform_rate": 5e-4},
    }
    return {"distill": distill, "evaluate": SMALL_EVALUATION}


RFAD = replace(
    FREPO,
    name="rfad",
    title="random feature approximation (RFAD)",
    paper="Loo et al. 2022",
    venue="NeurIPS 2022, arXiv 2210.12067",
    paper_title="Efficient Dataset Distillation Using Random Feature Approximation",
    settings={"random_features": RandomFeaturesConfig},
    values=_values,
    values_for="on {dataset}",
    small=_small,
    acts_on=lambda distill, classes: classes * int(distill.ipc) * int(distill.random_features.networks),
    loop="bilp.distill.loops.rfad:distill",
    networks="bilp.distill.loops.rfad:draw_random_networks",
    loss_meaning="Loss of the labels that real images get from a regression on the synthetic ones; it should fall and level off.",
    requires="bilp.distill.loops.rfad:require_transform",
    carried="bilp.distill.loops.rfad:require_random_features",
    carries="bilp.distill.loops.rfad:random_feature_forms",
    work="bilp.costs.method_work:random_features",
)

METHODS = (RFAD,)
