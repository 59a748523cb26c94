"""DATM and PAD: one graph through all steps of the training on the synthetic images and their soft labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from benchmarks.references.parts import Reference
from bilp.distill.loops.mtt import draw_steps
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.nets import build
from bilp.seeds import generator


class AlignedReference(Reference):
    """The initial images are those of `state`; their labels are asked for image by image. It computes in the precision of the images."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self.step_size = torch.tensor(self.config.trajectory.step_size, dtype=torch.float64, device=setting.device)
        self.step_momentum = torch.zeros_like(self.step_size)
        self.logits = torch.stack([self._first_label(image, int(c)) for image, c in zip(state.images, state.labels, strict=True)])
        self.logits = self.logits.to(state.images)
        self.label_momentum = torch.zeros_like(self.logits)
        self.network.to(self.images.dtype)
        self.skipped = 0

    def _first_label(self, image: Tensor, c: int) -> Tensor:
        """The mean of the logits of the experts that see the class in an image; of all, with two numbers changed, if there are none."""
        experts = self.setting.inputs.experts
        assert experts is not None
        said = []
        for k in range(experts.count):
            network = build(self.config.network, self.setting.pool.dataset.shape, self.setting.pool.classes)
            for own, value in zip(network.parameters(), experts.parameters(k, experts.epochs), strict=True):
                own.data.copy_(value)
            said.append(network.eval()(image[None].float())[0].detach())
        right = [logits for logits in said if int(logits.argmax()) == c]
        if right:
            return torch.stack(right).mean(0)
        mean = torch.stack(said).mean(0)
        likeliest = int(mean.argmax())
        mean[[c, likeliest]] = mean[[likeliest, c]]
        return mean

    def iteration(self, t: int) -> None:
        """See Reference."""
        trajectory, difficulty, kind = self.config.trajectory, self.config.difficulty, self.images.dtype
        start, target = self._piece(t)
        leaf, told = self.images.clone().requires_grad_(), self.logits.clone().requires_grad_()
        rate = self.step_size.to(kind, copy=True).requires_grad_()
        names = [name for name, _ in self.network.named_parameters()]
        weights = [value.clone().requires_grad_() for value in start]
        for step in draw_steps(self.setting, len(leaf), t):
            batch = augment.apply(leaf[step.rows], step.params)
            said = functional_call(self.network, dict(zip(names, weights, strict=True)), (batch,)).log_softmax(1)
            loss = -(told[step.rows].softmax(1) * said).sum(1).mean()
            gradient = torch.autograd.grad(loss, weights, create_graph=True)
            weights = [value - rate * part for value, part in zip(weights, gradient, strict=True)]
        skipped = self._uncompared()
        apart, length = (
            torch.cat([(a - b).flatten() for a, b in zip(one[skipped:], target[skipped:], strict=True)]).square()
            for one in (weights, start)
        )
        compared = apart.detach().argsort()[int(difficulty.nearest * len(apart)) :]
        ratio = apart[compared].sum() / length[compared].sum()
        self.told([ratio])
        if float(ratio.detach()) > difficulty.threshold:
            self.skipped += 1
            return
        of_images, of_labels, of_rate = torch.autograd.grad(ratio, [leaf, told, rate])
        self.descend(of_images)
        self.label_momentum = difficulty.label_momentum * self.label_momentum + of_labels
        self.logits = self.logits - difficulty.label_rate * self.label_momentum
        self.step_momentum = trajectory.step_momentum * self.step_momentum + of_rate
        self.step_size = self.step_size - trajectory.step_rate * self.step_momentum

    def _piece(self, t: int) -> tuple[list[Tensor], list[Tensor]]:
        """Where the training of iteration t begins, and what it is compared with."""
        trajectory, difficulty, experts = self.config.trajectory, self.config.difficulty, self.setting.inputs.experts
        assert experts is not None
        last = trajectory.max_start
        if difficulty.early_max_start is not None:
            share = min(1.0, t / difficulty.expansion)
            last = difficulty.early_max_start + int((last - difficulty.early_max_start) * share + 1e-9)
        stream = generator(self.config.seed, "trajectory", t)
        expert = int(torch.randint(experts.count, (1,), generator=stream))
        epoch = difficulty.min_start + int(torch.randint(last - difficulty.min_start + 1, (1,), generator=stream))
        ends = (experts.parameters(expert, at, self.setting.device) for at in (epoch, epoch + trajectory.expert_epochs))
        start, target = ([value.to(self.images.dtype) for value in values] for values in ends)
        return start, target

    def _uncompared(self) -> int:
        """Parameters of the layers near the images that are not compared."""
        weights = [place for place, value in enumerate(self.network.parameters()) if value.ndim > 1]
        left_out = int(self.config.difficulty.shallow * len(weights) + 1e-9)
        return weights[left_out] if left_out else 0
