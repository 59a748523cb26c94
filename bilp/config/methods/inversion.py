"""SRe2L, CDA and LPLD: synthetic images that a trained teacher classifies and whose statistics are those that its batch norm knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bilp.config.base import Count, Fraction, Frozen, Positive, Rate
from bilp.config.label_storage import LabelForm, LabelTemperature, StoredLogits
from bilp.config.methods.spec import Cell, Method
from bilp.config.sources import SOURCES


class InversionConfig(Frozen):
    """SRe2L, CDA, LPLD and FADRM: cross-entropy under a teacher, and distances of the statistics of what enters its batch norm.

    The teacher is the one of evaluate.teacher, and needs batch norm.
    """

    by_rule: ClassVar[frozenset[str]] = frozenset({"weight", "smallest", "curriculum", "flip", "roll"})

    weight: Rate = 0.01
    """Weight of the distances of means and of variances, of all layers together, beside the cross-entropy (r_bn)."""
    first_layer: Rate = 10.0
    """Weight of the first layer's distances relative to those of each other layer."""
    together: Positive = 100
    """Images of a batch, at most: of sre2l, cda and fadrm one of each class, of lpld those of one class."""
    smallest: Annotated[float, Field(gt=0.0, le=1.0)] = 0.08
    """Share of the area that a crop of the images keeps at least, uniform up to 1; with 1, images enter whole."""
    curriculum: Fraction = 0.0
    """Share of the iterations in which smallest is approached, from whole images on, along half a cosine; 0 crops at once."""
    flip: bool = True
    """Whether half of the batches enter mirrored."""
    roll: Count = 32
    """Pixels by which a batch is rolled down and to the right, at most; what leaves it comes in on the other side."""
    soft_labels: LabelForm = "float16"
    top_k: StoredLogits = 10
    temperature: LabelTemperature = 20.0


class ClassStatisticsConfig(Frozen):
    """LPLD: whose statistics the images of a class are given."""

    target: Literal["class", "teacher"] = "class"
    """Those of the real images of the class, or those that the teacher's batch norm holds of all classes, as in sre2l, for comparison."""


SMALL_SIDE, LARGE_SIDE = 32, 128
"""Sides up to which images enter whole, as in the program for CIFAR, and from which on they are rolled by up to 32 pixels, not 4."""
TINY_IMAGENET = "tiny_imagenet"


def _views(cell: Cell) -> dict[str, Any]:
    """Of CIFAR the program neither crops nor mirrors; mirroring goes, too, where it changes the meaning."""
    side = cell.side_or(SMALL_SIDE)
    small = side <= SMALL_SIDE
    flip = not small and not SOURCES[cell.dataset].mirroring_changes_meaning
    return {"roll": 32 if side >= LARGE_SIDE else 4, "smallest": 1.0 if small else 0.08, "flip": flip}


def inverted(cell: Cell, iterations: int, rate: float, weight: float, **more: Any) -> dict[str, Any]:
    """Values of a method that inverts a teacher with batch norm.

    Args:
        cell: what they are for.
        iterations: of the run.
        rate: step size of Adam.
        weight: that of the statistics.
        more: further settings of `inversion`.
    """
    own = {"weight": weight, "curriculum": 0.0, **_views(cell), **more}
    distill = {"iterations": iterations, "learning_rate": rate, "init": "noise", "augment": [], "inversion": own}
    batch_norm = {"norm": "batch"}
    return {"distill": {**distill, "network": batch_norm}, "evaluate": {"teacher": {"network": batch_norm}}}


def _sre2l(cell: Cell) -> dict[str, Any]:
    """Of the program's scripts: 4000 iterations, 1000 for CIFAR."""
    if cell.dataset == TINY_IMAGENET:
        return inverted(cell, 4000, 0.1, 1.0)
    return inverted(cell, 1000 if _views(cell)["smallest"] == 1.0 else 4000, 0.25, 0.01)


def _cda(cell: Cell) -> dict[str, Any]:
    """Of the program's scripts; CIFAR, on which it has none, gets the crops that make the method."""
    rate, weight = (0.4, 0.05) if cell.dataset == TINY_IMAGENET else (0.25, 0.01)
    return inverted(cell, 4000, rate, weight, smallest=0.08, curriculum=1.0)


def _lpld(cell: Cell) -> dict[str, Any]:
    """Of the program's scripts."""
    rate, weight = (0.1, 0.05) if cell.dataset == TINY_IMAGENET else (0.25, 0.01)
    return inverted(cell, 4000, rate, weight)


def _small(cell: Cell) -> dict[str, Any]:
    """Images of 8x8, of which a pixel is much."""
    return {"distill": {"iterations": 300, "learning_rate": 0.1, "inversion": {"roll": 1}}}


SRE2L = Method(
    name="sre2l",
    title="squeeze, recover and relabel (SRe2L)",
    paper="Yin et al. 2023",
    venue="NeurIPS 2023, arXiv 2306.13092",
    paper_title="Squeeze, Recover and Relabel: Dataset Condensation at ImageNet Scale From A New Perspective",
    settings={"inversion": InversionConfig},
    values=_sre2l,
    values_for="on {dataset}",
    small=_small,
    protocol="slkd",
    no_effect="sees real samples only through averages that its teacher kept while it was trained",
    needs_teacher=True,
    inverts_teacher=True,
    augmentation="none",
    one_step=True,
    matching="bilp.matching:statistics_of_all",
    loop="bilp.distill.loops.inversion:distill",
    schedule="bilp.distill.step.schedule:untrained",
    networks="bilp.distill.loops.inversion:frozen_teacher",
    carried="bilp.distill.loops.inversion:require_carried",
    requires="bilp.distill.loops.inversion:require_pixels",
    product="bilp.distill.labels_product:product",
    loss="cross-entropy and distance of statistics",
    loss_meaning="Cross-entropy of the synthetic images under the teacher, and how far the statistics of its layers are from those wanted.",
    looked_at=lambda distill: 0,
    work="bilp.costs.method_work:inversion",
    parts={"batches": "bilp.distill.step.inversion_batches:of_different_classes"},
)

CDA = replace(
    SRE2L,
    name="cda",
    title="curriculum data augmentation (CDA)",
    paper="Yin & Shen 2023",
    venue="TMLR 2024, arXiv 2311.18838",
    paper_title="Dataset Distillation via Curriculum Data Synthesis in Large Data Era",
    values=_cda,
)

EVERY_SAMPLE = 2**62
"""More samples than a class has."""


def _no_effect(distill: Any) -> str:
    """Targets of the teacher's batch norm are there before any real sample is chosen."""
    return f"class_statistics.target {distill.class_statistics.target}" if distill.class_statistics.target != "class" else ""


LPLD = replace(
    SRE2L,
    name="lpld",
    title="statistics of each class (LPLD)",
    paper="Xiao & He 2024",
    venue="NeurIPS 2024, arXiv 2410.15919",
    paper_title="Are Large-scale Soft Labels Necessary for Large-scale Dataset Distillation?",
    settings={"inversion": InversionConfig, "class_statistics": ClassStatisticsConfig},
    values=_lpld,
    no_effect="",
    no_effect_with=_no_effect,
    independent_with={},
    weighs=True,
    signed=True,
    measuring_steps=0.5,  # a pass back through the images of the class; a step takes one forwards, too
    estimators=("auto", "cotangent", "oracle"),
    measures="bilp.distill.step.statistics_effects:measure",
    matching="bilp.matching:statistics_of_class",
    looked_at=lambda distill: EVERY_SAMPLE,
    parts={"batches": "bilp.distill.step.inversion_batches:of_one_class"},
)

METHODS = (SRE2L, CDA, LPLD)
