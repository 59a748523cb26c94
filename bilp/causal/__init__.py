"""The causal effect of a real sample on the synthetic images: how the meta-gradient changes without it (BiLP, level 2)."""

from __future__ import annotations

from bilp.causal.estimate import Estimator, Measured, effects, ite, measure
from bilp.causal.precision import Precision

__all__ = ["Estimator", "Measured", "Precision", "effects", "ite", "measure"]
