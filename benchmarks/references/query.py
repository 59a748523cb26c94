"""LinBa: one graph through the whole training of a network on the synthetic images, and through what makes these."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from benchmarks.references.parts import Reference
from bilp.distill.step.memory_steps import initial_memories
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.seeds import generator


class QueryReference(Reference):
    """It computes in the precision of the images of `state`."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self.network.to(self.images.dtype)
        drawn = initial_memories(self.config, len(self.images), self.images.shape[1:])
        self.memories, self.coefficients = (drawn[name].to(self.images) for name in ("memories", "coefficients"))
        self.velocities = [torch.zeros_like(self.memories), torch.zeros_like(self.coefficients)]
        self.images = self.drawn(self.memories, self.coefficients)

    def drawn(self, memories: Tensor, coefficients: Tensor) -> Tensor:
        """The images, one by one, differentiable."""
        side = (self.images.shape[-2], self.images.shape[-1])
        each = [torch.stack([a * memory for a, memory in zip(row, memories, strict=True)]).sum(dim=0) for row in coefficients]
        return functional.interpolate(torch.stack(each), side, mode="bilinear")

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, settings = self.config, self.config.memories
        factors = [self.memories.clone().requires_grad_(), self.coefficients.clone().requires_grad_()]
        loss, penalty = self.loss(factors[0], factors[1], t)
        of_factors = torch.autograd.grad(loss + settings.penalty * penalty, factors)
        length = torch.cat([part.flatten() for part in of_factors]).norm()
        shorter = min(1.0, settings.clip / float(length)) if settings.clip > 0 else 1.0
        self.velocities = [config.momentum * v + shorter * part for v, part in zip(self.velocities, of_factors, strict=True)]
        self.memories, self.coefficients = (
            factor.detach() - config.learning_rate * v for factor, v in zip(factors, self.velocities, strict=True)
        )
        self.images = self.drawn(self.memories, self.coefficients)
        self.told([loss])

    def loss(self, memories: Tensor, coefficients: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """The loss on real images of the network that was trained, and the sum of the norms of each mini-batch's coefficients."""
        config, settings = self.config, self.config.memories
        kind, images = self.images.dtype, self.drawn(memories, coefficients)
        self.network.float()
        self.start("network", t)
        self.network.to(kind)
        params = augment.draw(config.augment, self.setting.side, generator(config.seed, "query_augment", t))
        order, names = generator(config.seed, "query_order", t), [name for name, _ in self.network.named_parameters()]
        weights = [parameter.detach().clone().requires_grad_() for parameter in self.network.parameters()]
        velocity, penalty = [torch.zeros_like(value) for value in weights], images.new_zeros(())
        wanted = min(settings.per_class, config.ipc)
        for _ in range(settings.steps):
            chosen = [torch.randperm(config.ipc, generator=order)[:wanted].sort().values for _ in range(self.setting.pool.classes)]
            rows = torch.cat([own + c * config.ipc for c, own in enumerate(chosen)])
            logits = functional_call(self.network, dict(zip(names, weights, strict=True)), (augment.apply(images[rows], params),))
            gradient = torch.autograd.grad(functional.cross_entropy(logits, self.labels[rows]), weights, create_graph=True)
            velocity = [settings.step_momentum * v + part for v, part in zip(velocity, gradient, strict=True)]
            weights = [value - settings.step_size * v for value, v in zip(weights, velocity, strict=True)]
            penalty = penalty + coefficients[rows].norm()
        losses = []
        for c in range(self.setting.pool.classes):
            shown = augment.apply(self.setting.pool.images(self.real(t, 0, c), self.setting.device).to(kind), params)
            logits = functional_call(self.network, dict(zip(names, weights, strict=True)), (shown,))
            losses.append(functional.cross_entropy(logits, self.targets(c, len(shown))))
        return torch.stack(losses).mean(), penalty
