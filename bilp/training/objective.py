"""What a network is trained to do on an augmented mini-batch: name the class, or agree with a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from bilp.capture import to_device
from bilp.images.cutmix import Mix


@dataclass(frozen=True)
class Mixed:
    """What CutMix did to the labels of K mini-batches of B images: shares `[K]` (float64) that stay the images' own, partners `[K, B]`.

    The label of a partner counts for what its box covers (Yun et al. 2019, equation 2). A mini-batch that is not mixed has the share 1.
    """

    shares: Tensor
    partners: Tensor

    @classmethod
    def of(cls, mixes: Sequence[Mix | None], images: int, device: torch.device | str = "cpu") -> Self | None:
        """That of mini-batches of so many images each, in one copy to the device; None if none is mixed."""
        if not any(mixes):
            return None
        shares = torch.tensor([1.0 if mix is None else mix.share for mix in mixes], dtype=torch.float64)
        partners = torch.stack([torch.arange(images) if mix is None else mix.partner for mix in mixes])
        return cls(*to_device([shares, partners], device))


def hard_loss(logits: Tensor, labels: Tensor, mixed: Mixed | None) -> Tensor:
    """Mean cross-entropy of each of K mini-batches: logits `[K, B, classes]`, labels `[K, B]`, result `[K]`."""
    own = _cross_entropy(logits, labels)
    if mixed is None:
        return own
    shares = mixed.shares.to(logits.dtype)
    return shares * own + (1.0 - shares) * _cross_entropy(logits, labels.gather(1, mixed.partners))


def soft_loss(logits: Tensor, teacher_logits: Tensor, temperature: float, mixed: Mixed | None = None, squared: bool = False) -> Tensor:
    """Kullback-Leibler divergence of the student from the teacher at a temperature, `[K, B, classes]` to `[K]`.

    Mean over the mini-batch. Without the factor temperature^2 of Hinton et al. 2015, as in SRe2L and RDED (under AdamW the scale of a
    loss matters little), or with it (`squared`), which keeps the size of the gradient whatever the temperature is. If the teacher has
    seen the images before CutMix, `mixed` says what that did.

    Args:
        logits: the student's.
        teacher_logits: the teacher's, in the same shape.
        temperature: what both are divided by.
        mixed: what CutMix did to images that the teacher saw before it.
        squared: whether the temperature's square is a factor.
    """
    target = (teacher_logits / temperature).softmax(-1)
    if mixed is not None:
        target = _shared_out(target, mixed)
    ours = (logits / temperature).log_softmax(-1)
    loss = functional.kl_div(ours, target, reduction="none").sum(-1).mean(-1)
    return loss * temperature**2 if squared else loss


def squared_loss(logits: Tensor, wanted: Tensor, mixed: Mixed | None = None) -> Tensor:
    """Half the squared distance of outputs from the values that were wanted, both `[K, B, classes]`: mean over the mini-batch, `[K]`."""
    if mixed is not None:
        wanted = _shared_out(wanted, mixed)
    return 0.5 * (logits - wanted).square().sum(-1).mean(-1)


def centered_labels(labels: Tensor, classes: int) -> Tensor:
    """One-hot labels less their mean, `[..., classes]` of int64 `[...]`."""
    return functional.one_hot(labels, classes) - 1.0 / classes


def _shared_out(target: Tensor, mixed: Mixed) -> Tensor:
    """Labels `[K, B, classes]` of images after CutMix."""
    own, rest = (shares.to(target.dtype).view(-1, 1, 1) for shares in (mixed.shares, 1.0 - mixed.shares))
    return own * target + rest * target.gather(1, mixed.partners.unsqueeze(-1).expand_as(target))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(1)
