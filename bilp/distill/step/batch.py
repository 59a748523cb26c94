"""Real samples of one class in one image step, and what the synthetic images of the class are matched to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilp.distill.step.setting import Setting
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.matching import Vectors
from bilp.matching.base import shares_of


@dataclass(frozen=True)
class Batch:
    """Real samples of one class, and what was drawn for them."""

    class_index: int
    ids: Tensor
    """sample_ids, int64 `[n]`."""
    params: AugParams | None
    """Siamese augmentation, for these and for the synthetic images of the class."""
    withheld: float = 0.0
    """Share of the samples in question that adaptive pruning kept away."""
    path: tuple[str | int, ...] = ()
    """Names of the streams of what is still drawn for them."""

    weights: Tensor | None = None
    """How much each counts in the mean, float `[n]`, relative to one another; None: all the same."""

    @property
    def shares(self) -> Tensor | None:
        """The weights by their sum, float64 `[n]`; None if all samples count the same. Raises ConfigError for weights that are none."""
        return None if self.weights is None else shares_of(self.weights, len(self.ids))

    def images(self, setting: Setting) -> Tensor:
        """The samples as they enter the network: normalized and augmented, float32 `[n, C, H, W]` on the run's device."""
        return augment.apply(setting.pool.images(self.ids, setting.device), self.params)


def sent(setting: Setting, batches: Sequence[Batch]) -> list[Batch]:
    """The batches with what was drawn for them on the run's device, all in one copy."""
    if setting.device.type == augment.REFERENCE:
        return list(batches)
    params = augment.send([batch.params for batch in batches], setting.side, setting.device)
    return [replace(batch, params=own) for batch, own in zip(batches, params, strict=True)]


def joint_shares(batches: Sequence[Batch]) -> Tensor:
    """How much each sample counts in the mean over classes of the means of their batches, which sums to 1; float32 `[n]` on the CPU."""
    own = (batch.shares for batch in batches)
    shares = [torch.full((len(b.ids),), 1.0 / len(b.ids)) if w is None else w.float() for b, w in zip(batches, own, strict=True)]
    return torch.cat(shares) / len(batches)


@dataclass(frozen=True)
class Target:
    """What the synthetic images of a class are matched to."""

    batch: Batch
    mean: Vectors
    """Mean vector of the batch, detached: blocks of the matching's shapes without the dimension of samples."""
