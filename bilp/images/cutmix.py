"""CutMix: a box of every image is replaced by that of another one, and the labels are shared out by area (Yun et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from bilp.capture import to_device
from bilp.images.augment_rows import Side


@dataclass(frozen=True)
class Mix:
    """Inside `box` (top, bottom, left, right) image i shows its `partner[i]`, int64 `[B]`.

    `share` is the part of an image, and of its label, that stays its own.
    """

    partner: Tensor
    box: tuple[int, int, int, int]
    share: float
    _moved: dict[torch.device, list[Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def on_device(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """`share`, a float32 scalar, and `partner` on a device; images and labels share one copy."""
        if device not in self._moved:
            self._moved[device] = to_device([torch.tensor(self.share), self.partner], device)
        share, partner = self._moved[device]
        return share, partner

    def partner_on(self, device: torch.device) -> Tensor:
        """`partner` on a device."""
        return self.on_device(device)[1]


def draw_mix(probability: float, side: Side, count: int, stream: torch.Generator) -> Mix | None:
    """Box and partners for a mini-batch of `count` images of `side` = (height, width), or None for one that is not mixed.

    The share of the box is uniform on [0, 1) before it is cut off at the border.
    """
    if probability == 0.0 or float(torch.rand((), generator=stream)) >= probability:
        return None
    kept, down, right = torch.rand(3, generator=stream).tolist()
    partner = torch.randperm(count, generator=stream)
    height, width = side
    edges = []
    for length, place in ((height, down), (width, right)):
        reach = int(length * math.sqrt(1.0 - kept)) // 2
        center = int(place * length)
        edges += [max(0, center - reach), min(length, center + reach)]
    top, bottom, left, right_edge = edges
    area = (bottom - top) * (right_edge - left)
    return Mix(partner, (top, bottom, left, right_edge), 1.0 - area / (height * width))


def mix_images(images: Tensor, mix: Mix | None, partner: Tensor | None = None) -> Tensor:
    """The mixed mini-batch, `[B, C, H, W]` to the same shape; `images` itself for None. Of clips, every frame has the same box.

    `partner` is the mix's on the device.
    """
    if mix is None:
        return images
    top, bottom, left, right = mix.box
    result = images.clone()
    shown = mix.partner_on(images.device) if partner is None else partner
    result[..., top:bottom, left:right] = images[..., top:bottom, left:right][shown]
    return result


def boxes_of(mixes: Sequence[Mix | None]) -> Tensor:
    """The boxes of K mini-batches, int64 `[K, 4]`: an empty one where nothing is mixed."""
    return torch.tensor([(0, 0, 0, 0) if mix is None else mix.box for mix in mixes])


def mix_each(images: Tensor, partners: Tensor, boxes: Tensor) -> Tensor:
    """`mix_images` for K mini-batches `[K, B, ...]` at once, whose partners `[K, B]` and boxes `[K, 4]` lie on their device."""
    groups, count = partners.shape
    down, across = (
        (places >= boxes[:, first, None]) & (places < boxes[:, first + 1, None])
        for first, places in (
            (0, torch.arange(images.shape[-2], device=images.device)),
            (2, torch.arange(images.shape[-1], device=images.device)),
        )
    )
    inside = (down.unsqueeze(2) & across.unsqueeze(1)).view(groups, *[1] * (images.dim() - 3), *images.shape[-2:])
    others = partners + count * torch.arange(groups, device=images.device).unsqueeze(1)
    return torch.where(inside, images.flatten(0, 1).index_select(0, others.flatten()).view_as(images), images)


def mixed_loss(logits: Tensor, labels: Tensor, mix: Mix | None) -> Tensor:
    """Mean cross-entropy of logits `[B, classes]`, where the partner's label counts for what its box covers (equation 2)."""
    own = functional.cross_entropy(logits, labels)
    if mix is None:
        return own
    return mix.share * own + (1.0 - mix.share) * functional.cross_entropy(logits, labels[mix.partner_on(labels.device)])
