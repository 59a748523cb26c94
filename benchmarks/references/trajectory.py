"""MTT and TESLA: one graph through all steps of the training on the synthetic images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from benchmarks.references.parts import Reference
from bilp.distill.loops.mtt import draw_steps, draw_trajectory
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment


class TrajectoryReference(Reference):
    """For TESLA the parameters are cut off at every step, and the graphs of all steps are kept until the end.

    It computes in the precision of the images of `state`.
    """

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self.network.to(self.images.dtype)
        self.step_size = torch.tensor(self.config.trajectory.step_size, dtype=torch.float64, device=setting.device)
        self.step_momentum = torch.zeros_like(self.step_size)

    def iteration(self, t: int) -> None:
        """See Reference."""
        settings, kind = self.config.trajectory, self.images.dtype
        assert self.setting.inputs.experts is not None
        piece = draw_trajectory(self.setting, self.setting.inputs.experts, t)
        start, target = ([value.to(kind) for value in values] for values in (piece.start, piece.target))
        leaf, rate = self.images.clone().requires_grad_(), self.step_size.to(kind, copy=True).requires_grad_()
        end = self._trained(start, leaf, rate, t)
        apart, length = (torch.stack([(a - b).square().sum() for a, b in zip(one, target, strict=True)]).sum() for one in (end, start))
        loss = apart / length
        of_images, of_rate = torch.autograd.grad(loss, [leaf, rate])
        self.descend(of_images)
        self.step_momentum = settings.step_momentum * self.step_momentum + of_rate
        self.step_size = self.step_size - settings.step_rate * self.step_momentum
        self.told([loss])

    def _trained(self, start: list[Tensor], leaf: Tensor, rate: Tensor, t: int) -> list[Tensor]:
        """The parameters after all steps on the images `leaf`."""
        names, cut = [name for name, _ in self.network.named_parameters()], self.config.method == "tesla"
        weights = [value.clone().requires_grad_() for value in start]
        summed = [torch.zeros_like(value) for value in start]
        for step in draw_steps(self.setting, len(leaf), t):
            at = [value.detach().requires_grad_() for value in weights] if cut else weights
            logits = functional_call(self.network, dict(zip(names, at, strict=True)), (augment.apply(leaf[step.rows], step.params),))
            gradient = torch.autograd.grad(functional.cross_entropy(logits, self.labels[step.rows]), at, create_graph=True)
            summed = [total + part for total, part in zip(summed, gradient, strict=True)]
            weights = [value - rate * part for value, part in zip(weights, gradient, strict=True)]
        return [value - rate * total for value, total in zip(start, summed, strict=True)] if cut else weights
