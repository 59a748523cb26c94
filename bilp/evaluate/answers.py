"""What trained networks say of test images: the class they take each for, and whether its own class is among the k likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """What networks say of N images: `predicted` `[..., N]`, and whether the label is `within` the k likeliest classes, `[..., N]`.

    `within` is None where nobody asked, or so few classes leave no doubt.
    """

    predicted: Tensor
    within: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Self:
        """Those of all images, of the answers on one mini-batch after the other."""
        within = [each.within for each in parts if each.within is not None]
        return cls(torch.cat([each.predicted for each in parts], dim=-1), torch.cat(within, dim=-1) if within else None)

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, top_k: int | None) -> Self:
        """Those of logits `[..., B, classes]` on images with the labels `[B]`."""
        asked = top_k is not None and logits.shape[-1] > top_k
        return cls(logits.argmax(-1), within_top(logits, labels, top_k) if asked and top_k is not None else None)

    def top_k_shares(self) -> list[float]:
        """Share of the images whose label is within the k likeliest classes, of each of K networks; empty where `within` is None."""
        if self.within is None:
            return []
        return [hits / self.within.shape[-1] for hits in torch.atleast_2d(self.within).sum(-1).tolist()]


def within_top(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether each label `[B]` is among the k classes with the greatest logits `[..., B, classes]`: `[..., B]`.

    Of equal logits the one of the lower class comes first, so that constant logits make no label right but those of the first k
    classes, whatever the device.
    """
    places = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    own = logits.gather(-1, places)
    lower = torch.arange(logits.shape[-1], device=places.device) < places
    found: Tensor = ((logits > own) | ((logits == own) & lower)).sum(-1) < k
    return found
