"""The norm of the causal effect of every sample of a batch, by any estimator, and what the batch's mean vector needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from bilp.causal.cotangent import exact_effects
from bilp.causal.oracle import leave_one_out
from bilp.causal.synthetic import Synthetic
from bilp.causal.vectors import RealVectors
from bilp.errors import ConfigError
from bilp.matching import Matching, Vectors
from bilp.nets import Network

Estimator = Literal["auto", "oracle", "cotangent"]
BYTE_BUDGET = 512 * 2**20

Pair = tuple[Tensor, Tensor]
Augment = Callable[[Tensor], Tensor]


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
) -> Measured:
    """`ite` of (images, labels) pairs, together with the means of parts of the batch.

    The vectors are those of this network: form the mean before the network changes, and let go of the result afterwards.
    """
    _check(real, synthetic, estimator)
    side = Synthetic(matching, network, synthetic, augment, len(real[0]), byte_budget)
    if estimator == "oracle":
        vectors = RealVectors(matching, network, real, side.psi, byte_budget=0)
        found: Iterator[Tensor] = (effect.unsqueeze(0) for effect in leave_one_out(matching, network, real, synthetic, augment))
    else:
        vectors = RealVectors(matching, network, real, side.psi, byte_budget, side.pull.lanes)
        found = exact_effects(matching, vectors, side)
    norms = [torch.linalg.vector_norm(effect.flatten(1), dim=1) for effect in found]
    return Measured(torch.cat(norms).float(), vectors.mean_of)


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
) -> Tensor:
    """Norms |ITE_i| of the individual treatment effect of every real sample, float32 `[B]`, detached.

    `real` `[B, C, H, W]` are samples of one class as they enter the network, already augmented; `synthetic`
    `[M, C, H, W]` are the stored synthetic images of the class, to which `augment` is applied inside. With G the
    gradient of the distance by the stored images, ITE_i = G(all) - G(all but i). Estimator auto is the exact cotangent
    form, oracle leaves samples out one by one. `byte_budget` bounds the per-sample vectors that are held at once, and
    separately the graph of the synthetic images; a single sample may need more. A sample whose vector equals the mean
    has effect 0. Raises ConfigError for a single real sample, or if batch norm couples the samples.
    """
    pairs = (real, real_labels), (synthetic, synthetic_labels)
    return measure(matching, network, *pairs, estimator, augment=augment, byte_budget=byte_budget).norms


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

    `real` and `synthetic` are (images, labels); everything else as for `ite`.
    """
    _check(real, synthetic, estimator)
    if estimator == "oracle":
        return (effect.unsqueeze(0) for effect in leave_one_out(matching, network, real, synthetic, augment))
    side = Synthetic(matching, network, synthetic, augment, len(real[0]), byte_budget)
    return exact_effects(matching, RealVectors(matching, network, real, side.psi, byte_budget, side.pull.lanes), side)


def _check(real: Pair, synthetic: Pair, estimator: str) -> None:
    if len(real[0]) < 2:
        raise ConfigError(
            f"the causal effect compares a batch with and without a sample, so it needs at least 2 real samples, not {len(real[0])}: "
            "draw more, or keep more candidates per class"
        )
    if len(synthetic[0]) == 0:
        raise ConfigError("there is no synthetic image on which real samples could have an effect: set ipc to 1 or more")
    if estimator not in get_args(Estimator):
        raise ConfigError(f"unknown estimator {estimator!r}: use one of {', '.join(get_args(Estimator))}")
