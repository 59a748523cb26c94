"""How effects are measured."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.causal.precision import Precision
from bilp.config.estimators import EstimatorName
from bilp.nets.by_device import ByDevice

BYTE_BUDGET = ByDevice(cpu=512 * 2**20, gpu=512 * 2**20, large=8 * 2**30)
DIRECTIONS = 96


@dataclass(frozen=True)
class EffectSettings:
    """Estimator, arithmetic and memory of a measurement."""

    estimator: EstimatorName = "auto"
    """oracle leaves samples out one by one; cotangent is exact without doing so; taylor is its first order; sketch estimates
    the norms from random and leading directions.

    auto takes cotangent, or sketch where that is clearly cheaper (from about five synthetic images on) and orders the samples
    as the exact norms would, with a rank correlation of at least 0.96 by its own account, if need be after a second try with
    twice the directions."""
    byte_budget: int = BYTE_BUDGET.cpu
    """Bounds the per-sample vectors that are held at once, and separately what the synthetic images need (their graph, or the
    directions' products); a single sample or direction may need more."""
    directions: int = DIRECTIONS
    """Directions of a sketch, about, for the images of a class together."""
    seed: int = 0
    """What they are drawn from."""
    precision: Precision = "float32"
    """With bfloat16 the real samples pass the network in short numbers, unless the first CHECKED of them would then be ordered
    differently."""


DEFAULTS = EffectSettings()
