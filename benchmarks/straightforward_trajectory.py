"""MTT and TESLA as one would write them first: one graph through all steps of the training on the synthetic images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from benchmarks.straightforward import Parts
from bilp.distill.loops.mtt import draw_steps, draw_trajectory
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment


class TrajectoryLoop(Parts):
    """For TESLA the parameters are cut off at every step, and the graphs of all steps are kept until the end."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        settings = self.config.trajectory
        self._rate = torch.tensor(settings.step_size, dtype=torch.float64, device=setting.device)
        self._push = torch.zeros_like(self._rate)

    def iteration(self, t: int) -> None:
        """See Loop."""
        assert self.setting.experts is not None
        settings, cut = self.config.trajectory, self.config.method == "tesla"
        names = [name for name, _ in self.network.named_parameters()]
        piece = draw_trajectory(self.setting, self.setting.experts, t)
        leaf, rate = self.images.clone().requires_grad_(), self._rate.float().requires_grad_()
        weights: list[Tensor] = [value.clone().requires_grad_() for value in piece.start]
        summed = [torch.zeros_like(value) for value in piece.start]
        for step in draw_steps(self.setting, len(leaf), t):
            at = [value.detach().requires_grad_() for value in weights] if cut else weights
            logits = functional_call(self.network, dict(zip(names, at, strict=True)), (augment.apply(leaf[step.rows], step.params),))
            gradient = torch.autograd.grad(functional.cross_entropy(logits, self.labels[step.rows]), at, create_graph=True)
            summed = [total + part for total, part in zip(summed, gradient, strict=True)]
            weights = [value - rate * part for value, part in zip(weights, gradient, strict=True)]
        end = [start - rate * total for start, total in zip(piece.start, summed, strict=True)] if cut else weights
        apart = torch.stack([(a - b).square().sum() for a, b in zip(end, piece.target, strict=True)]).sum()
        length = torch.stack([(a - b).square().sum() for a, b in zip(piece.start, piece.target, strict=True)]).sum()
        by_images, by_rate = torch.autograd.grad(apart / length, [leaf, rate])
        self.descend(by_images)
        self._push = settings.step_momentum * self._push + by_rate
        self._rate = self._rate - settings.step_rate * self._push
