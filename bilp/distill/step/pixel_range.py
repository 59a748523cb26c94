"""Images that are stored normalized and stepped as pixels: the units of both, and the range of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.distill.step.setting import Setting


@dataclass(frozen=True)
class PixelRange:
    """The pixels' range [0, 1] in normalized units, and what takes one to the other, each `[1, C, 1, 1]`."""

    low: Tensor
    high: Tensor
    scale: Tensor
    """1 / std^2: a step on the gradient with respect to pixels, in normalized units."""
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, setting: Setting) -> PixelRange:
        """That of a run's data, on its device."""
        dataset = setting.pool.dataset
        mean, std = (torch.tensor(values, device=setting.device).reshape(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
        return cls(-mean / std, (1.0 - mean) / std, std**-2, mean, std)

    def clamp_(self, images: Tensor) -> None:
        """Take normalized images `[..., C, H, W]` back into the range, in place."""
        images.copy_(images.clamp(self.low, self.high))
