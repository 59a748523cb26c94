"""The causal effect of a real sample on the synthetic images: how the meta-gradient changes without it (BiLP, level 2)."""

from __future__ import annotations

from bilp.causal.batch import ClassBatch
from bilp.causal.effect_settings import EffectSettings
from bilp.causal.estimate import effects, ite, measure, measure_classes
from bilp.causal.group import Measured
from bilp.causal.precision import Precision
from bilp.causal.signed import Signed, signed_effects
from bilp.config.estimators import EstimatorName as Estimator

__all__ = [
    "ClassBatch",
    "EffectSettings",
    "Estimator",
    "Measured",
    "Precision",
    "Signed",
    "effects",
    "ite",
    "measure",
    "measure_classes",
    "signed_effects",
]
