"""HaBa: one graph from bases and hallucinators, through the training on their images, to the expert; layers of torch.nn for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from benchmarks.references.parts import Reference, plain_layers
from bilp.distill.loops.haba import draw_base_steps, draw_pairs
from bilp.distill.loops.mtt import draw_trajectory
from bilp.distill.step.hallucinators import initial_hallucinators
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.nets import build, initialize
from bilp.seeds import generator


class Hallucinator(nn.Module):
    """One of them."""

    def __init__(self, drawn: dict[str, Tensor], which: int) -> None:
        super().__init__()
        into, entering, kernel, _ = drawn["encoder"][which].shape
        self.encoder, self.decoder = nn.Conv2d(entering, into, kernel), nn.ConvTranspose2d(into, drawn["decoder"].shape[2], kernel)
        self.scale, self.shift = nn.Parameter(drawn["inner_scale"][which].clone()), nn.Parameter(drawn["inner_shift"][which].clone())
        with torch.no_grad():
            for name, layer in (("encoder", self.encoder), ("decoder", self.decoder)):
                layer.weight.copy_(drawn[name][which])
                assert layer.bias is not None
                layer.bias.copy_(drawn[f"{name}_bias"][which])

    def forward(self, bases: Tensor) -> Tensor:
        """Of bases `[N, C, H, W]`."""
        result: Tensor = self.decoder(self.scale * self.encoder(bases) + self.shift)
        return result


class HallucinatedReference(Reference):
    """It computes in the precision of the images of `state`."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        config, own, kind = self.config, self.config.hallucinators, self.images.dtype
        shape, classes = setting.pool.dataset.shape, setting.pool.classes
        each = config.ipc // own.count
        kept = [row for c in range(classes) for row in range(c * config.ipc, c * config.ipc + each)]
        self.bases = self.images[kept].mean(dim=1, keepdim=True) if own.gray else self.images[kept]
        drawn = initial_hallucinators(config, shape)
        self.hallucinators = nn.ModuleList([Hallucinator(drawn, k) for k in range(own.count)]).to(setting.device, kind)
        self.extractor = build(config.network, shape, classes)
        initialize(self.extractor, generator(config.seed, "initial_extractor"))
        self.extractor.to(setting.device, kind)
        plain_layers(self.extractor)
        self.network.to(kind)
        self.bases.requires_grad_()
        parts: list[dict[str, Any]] = [{"params": [self.bases], "lr": config.learning_rate}]
        parts += [{"params": self.hallucinators.parameters(), "lr": own.learning_rate}]
        self.optimizer = torch.optim.SGD(parts, lr=1.0, momentum=own.momentum)
        self.extraction = torch.optim.SGD(self.extractor.parameters(), lr=own.extractor_learning_rate, momentum=0.9)
        self.step_size = torch.tensor(config.trajectory.step_size, dtype=torch.float64, device=setting.device)
        self.step_momentum = torch.zeros_like(self.step_size)
        self.images = self.drawn().detach()

    def drawn(self) -> Tensor:
        """All images, differentiable: of each base what every hallucinator makes."""
        made = [hallucinator(self.bases) for hallucinator in self.hallucinators]
        return torch.stack([made[k][j] for j in range(len(self.bases)) for k in range(len(made))])

    def iteration(self, t: int) -> None:
        """See Reference."""
        settings, own, kind = self.config.trajectory, self.config.hallucinators, self.images.dtype
        assert self.setting.inputs.experts is not None
        piece = draw_trajectory(self.setting, self.setting.inputs.experts, t)
        start, target = ([value.to(kind) for value in values] for values in (piece.start, piece.target))
        rate = self.step_size.to(kind, copy=True).requires_grad_()
        images = self.drawn()
        end = self._trained(start, images, rate, t)
        apart, length = (torch.stack([(a - b).square().sum() for a, b in zip(one, target, strict=True)]).sum() for one in (end, start))
        loss = apart / length
        if own.count > 1 and own.contrast > 0:
            first, second, _ = self._pair(images, "contrast", t)
            loss = loss + own.contrast * ((functional.cosine_similarity(first, second) + 1) / 2).mean()
        self.optimizer.zero_grad()
        loss.backward(inputs=[self.bases, *self.hallucinators.parameters(), rate])
        self.optimizer.step()
        assert rate.grad is not None
        self.step_momentum = own.step_momentum * self.step_momentum + rate.grad
        self.step_size = (self.step_size - settings.step_rate * self.step_momentum).clamp(min=own.least_step)
        self.images = self.drawn().detach()
        if own.count > 1 and own.contrast > 0:
            self._extract(t)
        self.told([loss])

    def _trained(self, start: list[Tensor], images: Tensor, rate: Tensor, t: int) -> list[Tensor]:
        """The parameters after all steps."""
        names, weights = [name for name, _ in self.network.named_parameters()], [value.clone().requires_grad_() for value in start]
        for step in draw_base_steps(self.setting, len(images), t):
            logits = functional_call(self.network, dict(zip(names, weights, strict=True)), (augment.apply(images[step.rows], step.params),))
            gradient = torch.autograd.grad(functional.cross_entropy(logits, self.labels[step.rows]), weights, create_graph=True)
            weights = [value - rate * part for value, part in zip(weights, gradient, strict=True)]
        return weights

    def _pair(self, images: Tensor, name: str, t: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features of what two hallucinators make of some bases, and the labels of both together."""
        pairs = draw_pairs(self.setting, len(images), name, t)
        features = self.extractor.embed(augment.apply(images[pairs.rows], pairs.params))
        return (*features.chunk(2), self.labels[pairs.rows])

    def _extract(self, t: int) -> None:
        """One step of the extractor; the supervised contrastive loss anchor by anchor."""
        own = self.config.hallucinators
        first, second, labels = self._pair(self.images, "extractor", t)
        features = torch.cat([first, second])
        loss = own.classification * functional.cross_entropy(self.extractor.classifier(features), labels)
        loss = loss + own.likeness * ((1 - functional.cosine_similarity(first, second)) / 2).mean()
        unit, anchors = features / features.norm(dim=1, keepdim=True), []
        for i in range(len(unit)):
            others = [j for j in range(len(unit)) if j != i]
            shares = torch.stack([unit[i] @ unit[j] for j in others]).div(0.07).log_softmax(0)
            anchors.append(-torch.stack([share for j, share in zip(others, shares, strict=True) if labels[j] == labels[i]]).mean())
        loss = loss + own.supervision * torch.stack(anchors).mean()
        self.extraction.zero_grad()
        loss.backward()
        self.extraction.step()
