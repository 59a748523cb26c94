"""The norm of the causal effect of every sample of a batch, by any estimator, and what the batch's mean vector needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from bilp.causal.choose import prefers_sketch
from bilp.causal.cotangent import exact_effects
from bilp.causal.oracle import leave_one_out
from bilp.causal.precision import CHECKED, RANK_AGREEMENT, Precision, order_holds
from bilp.causal.sketch import sketch
from bilp.causal.synthetic import Synthetic
from bilp.causal.taylor import require_curvature, taylor_effects
from bilp.causal.vectors import RealVectors
from bilp.errors import ConfigError
from bilp.matching import Matching, Vectors
from bilp.nets import Network

Estimator = Literal["auto", "oracle", "cotangent", "taylor", "sketch"]
BYTE_BUDGET = 512 * 2**20
DIRECTIONS = 96

Pair = tuple[Tensor, Tensor]
Augment = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Settings:
    """How effects are measured: the options of `measure` by the same names."""

    estimator: Estimator
    augment: Augment
    byte_budget: int
    directions: int = DIRECTIONS
    seed: int = 0
    precision: Precision = "float32"


@dataclass(frozen=True)
class Measured:
    """Norms of the effects of a batch, and the mean vector of any part of it. Holds up to a byte budget of vectors."""

    norms: Tensor
    """|ITE_i|, float32 `[B]`."""
    mean_of: Callable[[Tensor], Vectors]
    """Mean vector of the samples where a bool `[B]` is true: the matching's `real_mean` of them, up to rounding.

    No second pass through the network if the vectors of the batch fit the byte budget."""


def measure(
    matching: Matching,
    network: Network,
    real: Pair,
    synthetic: Pair,
    estimator: Estimator = "auto",
    *,
    augment: Augment = lambda images: images,
    byte_budget: int = BYTE_BUDGET,
    directions: int = DIRECTIONS,
    seed: int = 0,
    precision: Precision = "float32",
) -> Measured:
    """`ite` of (images, labels) pairs, together with the means of parts of the batch.

    The vectors are those of this network: form the mean before the network changes, and let go of the result afterwards.
    """
    _check(real, synthetic, estimator, precision)

    settings = _Settings(estimator, augment, byte_budget, directions, seed, precision)
    if precision == "bfloat16":
        few = (real[0][:CHECKED], real[1][:CHECKED])

        def norms(tried: Precision) -> Tensor:
            return _measure(matching, network, few, synthetic, replace(settings, precision=tried)).norms

        if len(real[0]) <= CHECKED or not order_holds(norms):
            settings = replace(settings, precision="float32")
    return _measure(matching, network, real, synthetic, settings)


def _measure(matching: Matching, network: Network, real: Pair, synthetic: Pair, settings: _Settings) -> Measured:
    estimator, directions, budget = settings.estimator, settings.directions, settings.byte_budget
    side = Synthetic(matching, network, synthetic, settings.augment, len(real[0]), budget)
    if estimator == "sketch" or (estimator == "auto" and _sketch_pays(side, len(real[0]), directions)):
        vectors = RealVectors(matching, network, real, side.psi, budget, precision=settings.precision)
        estimated = sketch(matching, vectors, side, directions, settings.seed, budget)
        if estimator == "auto" and estimated.agreement < RANK_AGREEMENT and _sketch_pays(side, len(real[0]), 2 * directions):
            estimated = sketch(matching, vectors, side, 2 * directions, settings.seed, budget)
        if estimator == "sketch" or estimated.agreement >= RANK_AGREEMENT:
            return Measured(estimated.norms.float(), vectors.mean_of)
        found = exact_effects(matching, vectors, side)
    else:
        vectors, found = _exactly(matching, network, real, synthetic, side, settings)
    norms = torch.cat([torch.linalg.vector_norm(effect.flatten(1), dim=1) for effect in found])
    return Measured(norms.float(), vectors.mean_of)


def ite(
    matching: Matching,
    network: Network,
    real: Tensor,
    real_labels: Tensor,
    synthetic: Tensor,
    synthetic_labels: Tensor,
    estimator: Estimator = "auto",
    *,
    augment: Augment = lambda images: images,
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
    estimator: Estimator = "auto",
    *,
    augment: Augment = lambda images: images,
    byte_budget: int = BYTE_BUDGET,
) -> Iterator[Tensor]:
    """The effects themselves, chunks `[k, M, C, H, W]` that together hold all B real samples in order; detached.

    `real` and `synthetic` are (images, labels); everything else as for `ite`, but auto is always the exact form, and
    sketch, which knows norms only, raises ConfigError.
    """
    _check(real, synthetic, estimator, "float32")
    if estimator == "sketch":
        raise ConfigError("estimator sketch gives norms, not the effects themselves: use cotangent")
    side = Synthetic(matching, network, synthetic, augment, len(real[0]), byte_budget)
    return _exactly(matching, network, real, synthetic, side, _Settings(estimator, augment, byte_budget))[1]


def _sketch_pays(side: Synthetic, samples: int, directions: int) -> bool:
    images, values = len(side.stored), sum(block.numel() for block in side.psi)
    # Directions that have to move all images at once would rank too badly.
    return prefers_sketch(samples, images, side.stored[0].numel(), values, directions) and not side.mixes


def _exactly(
    matching: Matching, network: Network, real: Pair, synthetic: Pair, side: Synthetic, settings: _Settings
) -> tuple[RealVectors, Iterator[Tensor]]:
    """The effects by an estimator that forms them, and the vectors of the batch."""
    if settings.estimator == "oracle":
        nothing_held = RealVectors(matching, network, real, side.psi, byte_budget=0)
        return nothing_held, (effect.unsqueeze(0) for effect in leave_one_out(matching, network, real, synthetic, settings.augment))
    if settings.estimator == "taylor":
        require_curvature(matching, side.psi)
    vectors = RealVectors(matching, network, real, side.psi, settings.byte_budget, side.pull.lanes, settings.precision)
    return vectors, (taylor_effects if settings.estimator == "taylor" else exact_effects)(matching, vectors, side)


def _check(real: Pair, synthetic: Pair, estimator: str, precision: str) -> None:
    if len(real[0]) < 2:
        raise ConfigError(
            f"the causal effect compares a batch with and without a sample, so it needs at least 2 real samples, not {len(real[0])}: "
            "draw more, or keep more candidates per class"
        )
    if len(synthetic[0]) == 0:
        raise ConfigError("there is no synthetic image on which real samples could have an effect: set ipc to 1 or more")
    if estimator not in get_args(Estimator):
        raise ConfigError(f"unknown estimator {estimator!r}: use one of {', '.join(get_args(Estimator))}")
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision {precision!r}: use one of {', '.join(get_args(Precision))}")
    if estimator == "oracle" and precision != "float32":
        raise ConfigError("estimator oracle is the definition that others are measured by, in float32: set precision to float32")
