"""FRePo, neural feature regression with pooling (Zhou et al. 2022)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from bilp.config.base import Fraction, Frozen, Positive, Rate
from bilp.config.methods.spec import Cell, Method
from bilp.config.network import CONVNET_FREPO
from bilp.config.sources import SOURCES


class FeatureRegressionConfig(Frozen):
    """FRePo: ridge regression on features of networks from a pool, which are trained on the synthetic images meanwhile."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"mirrored", "networks"})

    networks: Positive = 10
    """Networks in the pool, all of them part of every checkpoint. At the beginning their ages are spread evenly."""
    most_updates: Positive = 100
    """Steps after which a network is replaced by a new one, when its turn comes."""
    ridge: Rate = 1e-6
    """What is added to the kernel's diagonal, in units of its mean."""
    label_margin: Annotated[float, Field(ge=0.0)] = 1.0
    """Weight of the term that keeps the largest value of each learned label 1 / classes above the others."""
    learn_labels: bool = True
    """Whether labels are learned with the images; otherwise they stay centered one-hot ones, divided by sqrt(classes / 10)."""
    mirrored: bool = True
    """Whether the regression is on the synthetic images and their mirror images together."""
    final_rate: Fraction = 0.1
    """The step size falls along half a cosine to this part of itself at the last iteration."""


BATCH = 1024
"""Real samples of an iteration in FRePo's program, of all classes together."""
UNMIRRORED_FROM = {"fashion_mnist": 1, "cifar100": 10, "tiny_imagenet": 10, "imagenet1k": 1}
"""Data sets on which its program leaves the mirror images out, from so many images per class on."""
WHITENED = ("cifar10", "cifar100", "tiny_imagenet")
"""Data sets of its paper that it whitens."""
SMALL_EVALUATION = {"epochs": 1000, "full_epochs": 60, "batch_size": 64}
"""Of few and small images: about a thousand steps on all real images, too."""
FEWEST, UNKNOWN = 2, 10
"""Samples of a class in a batch at least, and classes of data of which nobody knows how many there are."""


def per_class(cell: Cell, batch: int) -> int:
    """Samples of each class in a batch of all classes."""
    counts = SOURCES[cell.dataset].counts
    return max(FEWEST, round(batch / (counts.classes if counts else UNKNOWN)))


def whitening(cell: Cell) -> dict[str, Any]:
    """Values of ingestion."""
    return {"ingest": {"whitening": "zca"}} if cell.dataset in WHITENED else {}


def _mirrored(cell: Cell) -> bool:
    least = UNMIRRORED_FROM.get(cell.dataset)
    return not SOURCES[cell.dataset].mirroring_changes_meaning and (least is None or cell.ipc < least)


def _values(cell: Cell) -> dict[str, Any]:
    """Those of its program (script/distill.py of yongchaoz/FRePo), which has 500,000 steps in its commands."""
    distill = {
        "iterations": 500_000,
        "learning_rate": 3e-4,
        "batch_real": per_class(cell, BATCH),
        "batch_train": 1000,
        "network_learning_rate": 3e-4,
        "init": "real",
        "augment": [],
        "network": {"name": CONVNET_FREPO},
        "regression": {"mirrored": _mirrored(cell)},
    }
    return {"distill": distill, **whitening(cell)}


def _small(cell: Cell) -> dict[str, Any]:
    """A network of a quarter of the width, and step sizes with which hundreds of steps are enough."""
    distill = {
        "iterations": 300,
        "learning_rate": 3e-3,
        "batch_real": 64,
        "network_learning_rate": 1e-3,
        "network": {"name": CONVNET_FREPO, "width": 32},
        "regression": {"networks": 4},
    }
    return {"distill": distill, "evaluate": SMALL_EVALUATION}


FREPO = Method(
    name="frepo",
    title="neural feature regression (FRePo)",
    paper="Zhou et al. 2022",
    venue="NeurIPS 2022, arXiv 2206.00719",
    paper_title="Dataset Distillation using Neural Feature Regression",
    settings={"regression": FeatureRegressionConfig},
    values=_values,
    values_for="on {dataset} at ipc {ipc}",
    small=_small,
    protocol="frepo",
    augmentation="none",
    one_step=True,
    weighs=True,
    signed=True,
    measuring_cost=20.0,  # a pass back through twenty synthetic images, those of ten classes at ipc 2
    estimators=("auto", "cotangent", "sketch", "oracle"),  # auto is the exact one
    acts_on=lambda distill, classes: classes * int(distill.ipc) * (2 if distill.regression.mirrored else 1),
    measures="bilp.distill.step.regression_effects:measure",
    matching="bilp.matching:regressed_features",
    loop="bilp.distill.loops.frepo:distill",
    schedule="bilp.distill.step.schedule:untrained",
    networks="bilp.distill.loops.frepo:draw_pool_network",
    product="bilp.distill.learned_labels:product",
    loss="regression loss",
    loss_meaning="Squared error of labels that real images get from a regression on the synthetic ones; it should fall and level off.",
    carried="bilp.distill.loops.frepo:require_regression",
    carries="bilp.distill.loops.frepo:regression_forms",
    work="bilp.costs.method_work:feature_regression",
)

METHODS = (FREPO,)
