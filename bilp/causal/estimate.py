"""The norm of the causal effect of every sample of class batches, by any estimator, and what their mean vectors need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

from torch import Tensor

from bilp.causal.batch import ClassBatch, class_groups
from bilp.causal.effect_settings import DEFAULTS, EffectSettings
from bilp.causal.group import Group, Measured
from bilp.causal.precision import Precision
from bilp.config.estimators import ESTIMATORS
from bilp.errors import ConfigError
from bilp.matching import Matching
from bilp.nets import Network
from bilp.text.sample_words import spoken


def ite(matching: Matching, network: Network, batch: ClassBatch, settings: EffectSettings = DEFAULTS) -> Tensor:
    """Norms |ITE_i| of the individual treatment effect of every real sample of a batch, float32 `[B]` on the CPU, detached.

    With G the gradient of the distance with respect to the stored synthetic images, ITE_i = G(all) - G(all but i). A sample
    whose vector equals the mean has effect 0. Raises ConfigError for a single real sample, if batch norm couples the samples,
    if taylor cannot see any effect, or for the definition (oracle) in bfloat16.
    """
    return measure(matching, network, batch, settings).norms


def measure(matching: Matching, network: Network, batch: ClassBatch, settings: EffectSettings = DEFAULTS) -> Measured:
    """`ite` of a batch, together with the means of parts of it.

    The vectors are those of this network: form the mean before the network changes, and let go of the result afterwards.
    """
    (found,) = Group(matching, network, [_checked(batch, settings)], settings).measured()
    return found


def measure_classes(
    matching: Matching, network: Network, batches: Iterable[ClassBatch], settings: EffectSettings = DEFAULTS
) -> Iterator[Measured]:
    """`measure` of every batch, in order; classes share the passes through the network as far as the budget allows.

    The budget bounds what all classes that are measured together hold. Batches are taken one group at a time, and let go
    of when the next group's turn comes.
    """
    checked = (_checked(batch, settings) for batch in batches)
    for group in class_groups(matching, network, checked, settings.byte_budget):
        yield from Group(matching, network, group, settings).measured()


def effects(matching: Matching, network: Network, batch: ClassBatch, settings: EffectSettings = DEFAULTS) -> Iterator[Tensor]:
    """The effects themselves, chunks `[k, M, C, H, W]` that together hold all B real samples in order; detached.

    As `ite`, but auto is always the exact form, and sketch, which knows norms only, raises ConfigError.
    """
    checked = _checked(batch, settings)
    if not ESTIMATORS[settings.estimator].forms_effects:
        raise ConfigError(f"estimator {settings.estimator} gives norms, not the effects themselves: use cotangent")
    return (chunk.squeeze(1) for chunk in Group(matching, network, [checked], settings).effects())


def _checked(batch: ClassBatch, settings: EffectSettings) -> ClassBatch:
    """The batch, if there is an effect to measure and a way to do it; otherwise raises ConfigError."""
    real, synthetic = batch.real, batch.synthetic
    estimator, precision = settings.estimator, settings.precision
    if len(real[0]) < 2:
        raise ConfigError(
            f"the causal effect compares a batch with and without a sample, so it needs at least 2 real samples, not {len(real[0])}: "
            "draw more, or keep more candidates per class"
        )
    if len(synthetic[0]) == 0:
        raise ConfigError(spoken("there is no synthetic image on which real samples could have an effect: set ipc to 1 or more"))
    if estimator not in ESTIMATORS:
        raise ConfigError(f"unknown estimator {estimator!r}: {ESTIMATORS.choices()}")
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision {precision!r}: use one of {', '.join(get_args(Precision))}")
    if ESTIMATORS[estimator].by_definition and precision != "float32":
        raise ConfigError(f"estimator {estimator} is the definition that others are measured by, in float32: set precision to float32")
    return batch
