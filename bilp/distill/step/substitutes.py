"""Cheap substitutes of the causal effect, to compare it with at the same beta; the entries of `RESELECT_SCORES` name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bilp.distill.step.batch import Batch
from bilp.distill.step.setting import Setting
from bilp.matching.per_sample import micro_batches
from bilp.seeds import generator


@dataclass(frozen=True)
class Substitute:
    """Scores of real samples from what each batch says of its own (`raw`) and all batches of a class say together (`score`)."""

    raw: Callable[[Setting, Batch, Tensor, Any], Tensor]
    """Of a batch of a class, of its images `[n, C, H, W]` as they enter the network, and of what `prepare` made: a number for each `[n]`,
    or a vector `[n, F]`."""
    score: Callable[[Tensor], Tensor] = lambda raw: raw
    """Scores `[n]`, not negative, from the raw values of all samples of a class that are measured together."""
    prepare: Callable[..., Any] = lambda setting, synthetic, *path: None
    """What all batches of a boundary need, of setting, synthetic images `[classes * ipc, C, H, W]`, and the path of the streams of what is
    drawn."""


def _drawn(setting: Setting, batch: Batch, images: Tensor, prepared: None) -> Tensor:
    return torch.rand(len(images), generator=generator(setting.config.seed, "reselect_random", *batch.path, batch.class_index))


def _embedded(setting: Setting, batch: Batch, images: Tensor, prepared: None) -> Tensor:
    return torch.cat([setting.network.embed(images[rows]) for rows in micro_batches(images)])


def _distances(features: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(features - features.mean(dim=0), dim=1)
    return found


def _losses(setting: Setting, batch: Batch, images: Tensor, prepared: None) -> Tensor:
    logits = torch.cat([setting.network(images[rows]) for rows in micro_batches(images)])
    return functional.cross_entropy(logits, setting.class_labels(batch.class_index, len(images)), reduction="none")


FEATURE_DISTANCE = Substitute(_embedded, _distances)
LOSS = Substitute(_losses)
RANDOM = Substitute(_drawn)
