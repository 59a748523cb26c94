"""RDED (Sun et al. 2024): crops of real images that a teacher recognizes, put together without any optimization; CA2D after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bilp.config.base import Frozen, Positive
from bilp.config.label_storage import LabelForm, LabelTemperature, StoredLogits
from bilp.config.methods.spec import Cell, Method
from bilp.config.sources import SOURCES


class PatchesConfig(Frozen):
    """RDED and CA2D: of each image of a pool the crop that the teacher recognizes best, and of these the best ones, as tiles of images.

    FADRM begins with such crops, of medium difficulty. The teacher is the one of evaluate.teacher. Crops of each image are
    distill.iterations, of FADRM residual.crops.
    """

    by_rule: ClassVar[frozenset[str]] = frozenset({"factor"})

    pool: Positive = 300
    """Real images of each class that are looked at, a random choice of those that take part; all where a class has fewer."""
    factor: Annotated[int, Field(ge=1, le=8)] = 1
    """A synthetic image consists of factor x factor tiles."""
    smallest: Annotated[float, Field(gt=0.0, le=1.0)] = 0.08
    """Share of an image's area that a crop keeps at least, uniform up to 1; with 1, tiles are whole images."""
    soft_labels: LabelForm = "float16"
    top_k: StoredLogits = 10
    temperature: LabelTemperature = 20.0


CROPS = 5
"""Crops of each image in the scripts of RDED's program (num_crop; its own default is 1)."""
TILED_FROM = 128
"""Side of the images from which on RDED makes them of 2 x 2 tiles: ImageNet and its parts, but not CIFAR and TinyImageNet."""
LOOKED_AT = 300
"""Real images of each class that both look at: mipc of the scripts (the program's own default is 600), and CA2D's highest CAD."""


def _factor(cell: Cell) -> int:
    return 2 if cell.side_or(0) >= TILED_FROM else 1


def _values(cell: Cell) -> dict[str, Any]:
    """As the program's scripts pass them (argument.py and scripts/ of LINs-lab/RDED)."""
    factor = _factor(cell)
    distill = {"iterations": CROPS, "init": "real", "augment": [], "patches": {"factor": factor}}
    return {"distill": distill, "prune": {"minimum_per_class": max(cell.ipc * factor**2, 2)}}


def _most_cad(cell: Cell) -> dict[str, Any]:
    """The static level keeps the highest CAD, as many images as CA2D looks at where the size of classes is known."""
    per_class, needed = SOURCES[cell.dataset].per_class, cell.ipc * _factor(cell) ** 2
    share = {} if per_class is None else {"keep": min(1.0, max(LOOKED_AT, needed) / per_class)}
    return {"criterion": "cad", **share}


RDED = Method(
    name="rded",
    title="realistic and diverse patches (RDED)",
    paper="Sun et al. 2024",
    venue="CVPR 2024, arXiv 2312.03526",
    paper_title="On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation Paradigm",
    settings={"patches": PatchesConfig},
    values=_values,
    protocol="slkd",
    no_effect="chooses real samples and optimizes nothing",
    optimizes=False,
    needs_teacher=True,
    augmentation="none",
    independent_with={},
    one_step=True,
    matching="bilp.matching.uncompared:nothing",
    loop="bilp.distill.loops.crops:distill",
    schedule="bilp.distill.step.schedule:untrained",
    carried="bilp.distill.loops.crops:require_crops",
    requires="bilp.distill.loops.crops:require_images",
    product="bilp.distill.patches_product:product",
    stores_labels=lambda distill: bool(distill.patches.soft_labels != "none"),
    loss="cross-entropy",
    loss_meaning="Cross-entropy that the teacher gives to the tiles of the images; it can only fall, crop by crop.",
    looked_at=lambda distill: int(distill.patches.pool),
    work="bilp.costs.method_work:crops",
)

CA2D = replace(
    RDED,
    name="ca2d",
    title="patches of images that are still being learned (CA2D)",
    paper="Dey et al. 2026",
    venue="CVPR 2026, arXiv 2604.18811",
    paper_title="Rethinking Dataset Distillation: Hard Truths about Soft Labels",
    dials=_most_cad,
)

METHODS = (RDED, CA2D)
