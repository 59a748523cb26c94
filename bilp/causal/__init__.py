"""The causal effect of a real sample on the synthetic images: how the meta-gradient changes without it (BiLP, level 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from bilp.causal.cotangent import exact_effects
from bilp.causal.oracle import leave_one_out
from bilp.errors import ConfigError
from bilp.matching import Matching
from bilp.nets import Network

__all__ = ["Estimator", "effects", "ite"]

Estimator = Literal["auto", "oracle", "cotangent"]
BYTE_BUDGET = 512 * 2**20


def ite(
    matching: Matching,
    network: Network,
    real: Tensor,
    real_labels: Tensor,
    synthetic: Tensor,
    synthetic_labels: Tensor,
    estimator: Estimator = "auto",
    *,
    augment: Callable[[Tensor], Tensor] = lambda images: images,
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
    chunks = effects(
        matching, network, (real, real_labels), (synthetic, synthetic_labels), estimator, augment=augment, byte_budget=byte_budget
    )
    norms = [torch.linalg.vector_norm(chunk.flatten(1), dim=1) for chunk in chunks]
    return torch.cat(norms).float()


def effects(
    matching: Matching,
    network: Network,
    real: tuple[Tensor, Tensor],
    synthetic: tuple[Tensor, Tensor],
    estimator: Estimator = "auto",
    *,
    augment: Callable[[Tensor], Tensor] = lambda images: images,
    byte_budget: int = BYTE_BUDGET,
) -> Iterator[Tensor]:
    """The effects themselves, chunks `[k, M, C, H, W]` that together hold all B real samples in order; detached.

    `real` and `synthetic` are (images, labels); everything else as for `ite`.
    """
    if len(real[0]) < 2:
        raise ConfigError(
            f"the causal effect compares a batch with and without a sample, so it needs at least 2 real samples, not {len(real[0])}: "
            "draw more, or keep more candidates per class"
        )
    if len(synthetic[0]) == 0:
        raise ConfigError("there is no synthetic image on which real samples could have an effect: set ipc to 1 or more")
    if estimator == "oracle":
        return (effect.unsqueeze(0) for effect in leave_one_out(matching, network, real, synthetic, augment))
    if estimator not in ("auto", "cotangent"):
        raise ConfigError(f"unknown estimator {estimator!r}: use auto, cotangent or oracle")
    return exact_effects(matching, network, real, synthetic, augment, byte_budget)
