"""SelMatch: the images that move and those that stay are two tensors, of which only the first is differentiated and stepped."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.references.trajectory import TrajectoryReference
from bilp.distill.loops.mtt import draw_trajectory
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState


class PartlyRealReference(TrajectoryReference):
    """MTT's graph through all steps, on both tensors laid together."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        real = torch.zeros(len(state.images), dtype=torch.bool) if state.real is None else state.real >= 0
        self._moved, self._stays = (~real).nonzero().squeeze(1), real.nonzero().squeeze(1)
        self._order = torch.cat([self._moved, self._stays]).argsort()
        self.velocity = torch.zeros_like(self.images[self._moved])

    def iteration(self, t: int) -> None:
        """See Reference."""
        settings, kind = self.config.trajectory, self.images.dtype
        assert self.setting.inputs.experts is not None
        piece = draw_trajectory(self.setting, self.setting.inputs.experts, t)
        start, target = ([value.to(kind) for value in values] for values in (piece.start, piece.target))
        moved, rate = self.images[self._moved].requires_grad_(), self.step_size.to(kind, copy=True).requires_grad_()
        end = self._trained(start, self._together(moved), rate, t)
        loss = _squares(end, target) / _squares(start, target)
        of_images, of_rate = torch.autograd.grad(loss, [moved, rate])
        self.velocity = self.config.momentum * self.velocity + of_images
        self.images = self._together(moved.detach() - self.config.learning_rate * self.velocity)
        self.step_momentum = settings.step_momentum * self.step_momentum + of_rate
        self.step_size = self.step_size - settings.step_rate * self.step_momentum
        self.told([loss])

    def _together(self, moved: Tensor) -> Tensor:
        return torch.cat([moved, self.images[self._stays]])[self._order]


def _squares(one: list[Tensor], other: list[Tensor]) -> Tensor:
    return torch.stack([(a - b).square().sum() for a, b in zip(one, other, strict=True)]).sum()
