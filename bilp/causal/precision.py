"""Real samples in bfloat16 while their effects are measured, where that leaves their order as it is.

An effect is a difference of nearly equal means, so short numbers can drown it. Whether they do depends on the network, the
batch and how far the synthetic images have come; it is therefore looked at in every batch instead of being assumed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from bilp.matching import Vectors
from bilp.nets import Network

Precision = Literal["float32", "bfloat16"]
Compute = Callable[[Network, Tensor, Tensor], Vectors]

# Rank correlation with the exact norms that an estimate must promise; below it the exact form is computed after all. What
# the sketch promises was up to 0.02 too high where the true value was below 0.95, hence more than the 0.95 that is wanted.
RANK_AGREEMENT = 0.96
CHECKED = 32
"""Samples of a batch that are measured both ways; a batch of no more than these gains nothing from bfloat16."""

logger = logging.getLogger(__name__)


def in_bfloat16(compute: Compute) -> Compute:
    """The same vectors, float32 `[B, ...]` or `[...]`, by layers whose inputs, weights and gradients are rounded to bfloat16.

    Sums inside a layer and normalizations keep float32 (torch.autocast).
    """

    def computed(network: Network, images: Tensor, labels: Tensor) -> Vectors:
        with torch.autocast(images.device.type, torch.bfloat16):
            found = compute(network, images, labels)
        return tuple(block.float() for block in found)

    return computed


def order_holds(exact: Tensor, short: Tensor) -> bool:
    """Whether the same few samples `[b]` have the same order by float32 and bfloat16; says so once per process if they do not."""
    correlation = rank_correlation(exact, short)
    if correlation < RANK_AGREEMENT:
        _announce()
    return correlation >= RANK_AGREEMENT


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's coefficient of two orders of the same samples, `[B]` each; equal values in their order, 1 if both are constant."""
    constant = [bool(values.max() == values.min()) for values in (one, other)]
    if any(constant):
        return 1.0 if all(constant) else 0.0
    ranks = torch.stack([values.argsort(stable=True).argsort().double() for values in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


@functools.cache
def _announce() -> None:
    logger.warning("bfloat16 would change the order of some batches by their causal effect; these are measured in float32")
