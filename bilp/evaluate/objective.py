"""What a network is trained to do on an augmented mini-batch: name the class, or agree with a teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bilp.images.cutmix import Mix


def hard_loss(logits: Tensor, labels: Tensor, mixes: Sequence[Mix | None]) -> Tensor:
    """Mean cross-entropy of each of K mini-batches: logits `[K, B, classes]`, labels `[K, B]`, result `[K]`.

    With cutmix the label of the partner counts for what its box covers (Yun et al. 2019, equation 2).
    """
    own = _cross_entropy(logits, labels)
    if not any(mixes):
        return own
    shares = torch.tensor([1.0 if mix is None else mix.share for mix in mixes], dtype=logits.dtype, device=logits.device)
    partners = [torch.arange(labels.shape[1]) if mix is None else mix.partner for mix in mixes]
    others = labels.gather(1, torch.stack(partners).to(labels.device))
    return shares * own + (1.0 - shares) * _cross_entropy(logits, others)


def soft_loss(
    logits: Tensor, teacher_logits: Tensor, temperature: float, mixes: Sequence[Mix | None] = (), squared: bool = False
) -> Tensor:
    """Kullback-Leibler divergence of the student from the teacher at a temperature, `[K, B, classes]` to `[K]`.

    Mean over the mini-batch. Without the factor temperature^2 of Hinton et al. 2015, as in SRe2L and RDED (under AdamW the scale of a
    loss matters little), or with it (`squared`), which keeps the size of the gradient whatever the temperature is. If the teacher has
    seen the images before CutMix, `mixes` say what that did to each of K mini-batches: the partner's label counts for what its box covers.
    """
    target = (teacher_logits / temperature).softmax(-1)
    if any(mixes):
        target = torch.stack([_mixed(own, mix) for own, mix in zip(target, mixes, strict=True)])
    ours = (logits / temperature).log_softmax(-1)
    loss = functional.kl_div(ours, target, reduction="none").sum(-1).mean(-1)
    return loss * temperature**2 if squared else loss


def _mixed(target: Tensor, mix: Mix | None) -> Tensor:
    """Labels `[B, classes]` of images after CutMix."""
    return target if mix is None else mix.share * target + (1.0 - mix.share) * target[mix.partner_on(target.device)]


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(1)
