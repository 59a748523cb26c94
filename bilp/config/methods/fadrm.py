"""FADRM (2025): patches of real images that a teacher is inverted from, and that come in again between blocks of iterations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from bilp.config.base import Count, Fraction, Frozen, Positive
from bilp.config.methods.inversion import SRE2L, TINY_IMAGENET, InversionConfig, inverted
from bilp.config.methods.rded import CROPS, PatchesConfig
from bilp.config.methods.spec import Cell
from bilp.config.nested import merge
from bilp.config.sources import SOURCES


class ResidualConfig(Frozen):
    """FADRM: blocks of iterations, between which images are mixed with the patches that they began as."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"blocks"})

    blocks: Positive = 4
    """Parts of the iterations, of nearly equal length, each with an optimizer that knows nothing of the one before."""
    share: Fraction = 0.5
    """What is left of an image between two blocks; the rest comes from its patch."""
    crops: Count = CROPS
    """Crops of each real image of patches.pool, of which the best is its patch; 0 begins with random real images and chooses nothing."""


FEW_IMAGES = frozenset({"imagenette", "imagewoof"})


def _values(cell: Cell) -> dict[str, Any]:
    """Of the program's scripts, which crop images of every size; blocks of 500 iterations."""
    blocks = 2 if cell.dataset == TINY_IMAGENET else 4
    rate = 0.01 if cell.dataset == TINY_IMAGENET else 0.05 if cell.dataset in FEW_IMAGES else 0.25
    crops = {"smallest": 0.08, "flip": not SOURCES[cell.dataset].mirroring_changes_meaning}
    found = inverted(cell, 500 * blocks, rate, 0.01, **crops)
    found["distill"]["residual"] = {"blocks": blocks}
    return found


def _small(cell: Cell) -> dict[str, Any]:
    """As the methods without patches, in two blocks, as a run is short."""
    return merge(SRE2L.small(cell), {"distill": {"residual": {"blocks": 2}}})


FADRM = replace(
    SRE2L,
    name="fadrm",
    title="residuals of real patches (FADRM)",
    paper="Cui et al. 2025",
    venue="NeurIPS 2025, arXiv 2506.24125",
    paper_title="FADRM: Fast and Accurate Data Residual Matching for Dataset Distillation",
    settings={"inversion": InversionConfig, "patches": PatchesConfig, "residual": ResidualConfig},
    values=_values,
    small=_small,
    no_effect="starts from real samples that a rule chooses, and sees others only through averages that its teacher kept",
    loop="bilp.distill.loops.residual:distill",
    carried="bilp.distill.loops.residual:require_carried",
    requires="bilp.distill.loops.residual:require_patches",
    brief={"residual": {"crops": 0}},
    looked_at=lambda distill: int(distill.patches.pool),
    work="bilp.costs.method_work:residual",
)

METHODS = (FADRM,)
