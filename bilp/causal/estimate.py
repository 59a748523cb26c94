"""The norm of the causal effect of every sample of class batches, by any estimator, and what their mean vectors need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

from torch import Tensor

from bilp.causal.batch import Augment, ClassBatch, Pair, class_groups, unchanged
from bilp.causal.group import DIRECTIONS, Group, Measured, Settings
from bilp.causal.precision import Precision
from bilp.config.estimators import ESTIMATORS, EstimatorName
from bilp.errors import ConfigError
from bilp.matching import Matching
from bilp.nets import Network

BYTE_BUDGET = 512 * 2**20


def measure(
    matching: Matching,
    network: Network,
    real: Pair,
    synthetic: Pair,
    estimator: EstimatorName = "auto",
    *,
    augment: Augment = unchanged,
    byte_budget: int = BYTE_BUDGET,
    directions: int = DIRECTIONS,
    seed: int = 0,
    precision: Precision = "float32",
) -> Measured:
    """`ite` of (images, labels) pairs, together with the means of parts of the batch.

    The vectors are those of this network: form the mean before the network changes, and let go of the result afterwards.
    """
    batch = ClassBatch(real, synthetic, augment)
    settings = Settings(estimator, byte_budget, directions, seed, precision)
    (found,) = Group(matching, network, [_checked(batch, settings)], settings).measured()
    return found


def measure_classes(
    matching: Matching,
    network: Network,
    batches: Iterable[ClassBatch],
    estimator: EstimatorName = "auto",
    *,
    byte_budget: int = BYTE_BUDGET,
    directions: int = DIRECTIONS,
    seed: int = 0,
    precision: Precision = "float32",
) -> Iterator[Measured]:
    """`measure` of every batch, in order; classes share the passes through the network as far as the budget allows.

    The budget bounds what all classes that are measured together hold. Batches are taken one group at a time, and let go
    of when the next group's turn comes.
    """
    settings = Settings(estimator, byte_budget, directions, seed, precision)
    checked = (_checked(batch, settings) for batch in batches)
    for group in class_groups(matching, network, checked, byte_budget):
        yield from Group(matching, network, group, settings).measured()


def ite(
    matching: Matching,
    network: Network,
    real: Tensor,
    real_labels: Tensor,
    synthetic: Tensor,
    synthetic_labels: Tensor,
    estimator: EstimatorName = "auto",
    *,
    augment: Augment = unchanged,
    byte_budget: int = BYTE_BUDGET,
    directions: int = DIRECTIONS,
    seed: int = 0,
    precision: Precision = "float32",
) -> Tensor:
    """Norms |ITE_i| of the individual treatment effect of every real sample, float32 `[B]`, detached.

    `real` `[B, C, H, W]` are samples of one class as they enter the network, already augmented; `synthetic`
    `[M, C, H, W]` are the stored synthetic images of the class, to which `augment` is applied inside. With G the
    gradient of the distance by the stored images, ITE_i = G(all) - G(all but i).

    Estimators: oracle leaves samples out one by one; cotangent is exact without doing so; taylor is its first order;
    sketch estimates the norms from about `directions` random and leading directions, drawn from `seed`; auto takes
    cotangent, or sketch where that is clearly cheaper (from about five synthetic images on) and orders the samples as
    the exact norms would, with a rank correlation of at least 0.96 by its own
    account, if need be after a second try with twice the directions. `byte_budget` bounds the
    per-sample vectors that are held at once, and separately what the synthetic images need (their graph, or the
    directions' products); a single sample or direction may need more. A sample whose vector equals the mean has effect 0.
    With `precision` bfloat16 the real samples pass the network in short numbers, unless the first CHECKED of them would
    then be ordered differently. Raises ConfigError for a single real sample, if batch norm couples the samples, if taylor
    cannot see any effect, or for the definition (oracle) in bfloat16.
    """
    pairs = (real, real_labels), (synthetic, synthetic_labels)
    measured = measure(
        matching,
        network,
        *pairs,
        estimator,
        augment=augment,
        byte_budget=byte_budget,
        directions=directions,
        seed=seed,
        precision=precision,
    )
    return measured.norms


def effects(
    matching: Matching,
    network: Network,
    real: Pair,
    synthetic: Pair,
    estimator: EstimatorName = "auto",
    *,
    augment: Augment = unchanged,
    byte_budget: int = BYTE_BUDGET,
) -> Iterator[Tensor]:
    """The effects themselves, chunks `[k, M, C, H, W]` that together hold all B real samples in order; detached.

    `real` and `synthetic` are (images, labels); everything else as for `ite`, but auto is always the exact form, and
    sketch, which knows norms only, raises ConfigError.
    """
    settings = Settings(estimator, byte_budget)
    batch = _checked(ClassBatch(real, synthetic, augment), settings)
    if not ESTIMATORS[estimator].forms_effects:
        raise ConfigError(f"estimator {estimator} gives norms, not the effects themselves: use cotangent")
    return (chunk.squeeze(1) for chunk in Group(matching, network, [batch], settings).effects())


def _checked(batch: ClassBatch, settings: Settings) -> ClassBatch:
    """The batch, if there is an effect to measure and a way to do it; otherwise raises ConfigError."""
    real, synthetic = batch.real, batch.synthetic
    estimator, precision = settings.estimator, settings.precision
    if len(real[0]) < 2:
        raise ConfigError(
            f"the causal effect compares a batch with and without a sample, so it needs at least 2 real samples, not {len(real[0])}: "
            "draw more, or keep more candidates per class"
        )
    if len(synthetic[0]) == 0:
        raise ConfigError("there is no synthetic image on which real samples could have an effect: set ipc to 1 or more")
    if estimator not in ESTIMATORS:
        raise ConfigError(f"unknown estimator {estimator!r}: {ESTIMATORS.choices()}")
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision {precision!r}: use one of {', '.join(get_args(Precision))}")
    if ESTIMATORS[estimator].by_definition and precision != "float32":
        raise ConfigError(f"estimator {estimator} is the definition that others are measured by, in float32: set precision to float32")
    return batch
