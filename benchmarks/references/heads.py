"""LGM: gradients of a linear classifier by autograd, one cosine for all classes, images that Adam moves directly or as a pyramid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.references.parts import Reference
from bilp.images import augment
from bilp.seeds import generator

COLORS = [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]]


class HeadReference(Reference):
    """Under an encoder with random weights; the pyramid for images whose sides are a power of 2."""

    levels: tuple[Tensor, ...] = ()
    optimizer: torch.optim.Adam | None = None

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, settings = self.config, self.config.linear
        self.start("encoder")
        self.network.eval()
        weight = settings.head_deviation * torch.randn(
            self.network.classifier.weight.shape, generator=generator(config.seed, "head", "network", t)
        )
        side = self.images.shape[-1]
        if self.optimizer is None and not settings.pyramid:
            self.levels = (self.images.clone().requires_grad_(),)
            self.optimizer = torch.optim.Adam(self.levels, lr=config.learning_rate)
        if settings.pyramid and t % settings.grow_every == 0 and 2 ** len(self.levels) <= side:
            count = len(self.levels) + 1
            shape = (*self.images.shape[:2], 2 ** (count - 1), 2 ** (count - 1))
            fresh = (torch.randn(shape, generator=generator(config.seed, "pyramid", count - 1)) / count).to(self.images.device)
            older = [level.detach() * (count - 1) / count for level in self.levels]
            self.levels = tuple(level.requires_grad_() for level in (*older, fresh))
            self.optimizer = torch.optim.Adam(self.levels, lr=config.learning_rate)
        assert self.optimizer is not None
        loss = self.loss(self.drawn(), weight, t)
        self.optimizer.zero_grad()
        loss.backward(inputs=list(self.levels))
        self.optimizer.step()
        self.images = self.drawn().detach()
        self.told([loss])

    def drawn(self) -> Tensor:
        """The normalized images, differentiable."""
        if not self.config.linear.pyramid:
            return self.levels[0]
        side, total = self.images.shape[-1], torch.zeros_like(self.images)
        for level in self.levels:
            total = total + functional.interpolate(level, (side, side), mode="bilinear")
        if total.shape[1] == 3:
            matrix = torch.tensor(COLORS).to(total)
            matrix = matrix / max(column.norm() for column in matrix.T)
            total = (matrix @ total.flatten(2)).view_as(total)
        dataset = self.setting.pool.dataset
        mean, std = (torch.tensor(values).to(total).view(-1, 1, 1) for values in (dataset.mean, dataset.std))
        return (1 / (1 + torch.exp(-2 * total)) - mean) / std

    def loss(self, images: Tensor, weight: Tensor, t: int) -> Tensor:
        """1 - cos of the gradients of the mean cross-entropy of a classifier with these weights and biases of 0."""
        classes = self.setting.pool.classes
        real = []
        for c in range(classes):
            with torch.no_grad():
                features = self.network.embed(self.shown(self.real(t, 0, c), None))
            real.append(_gradient(weight, features, self.targets(c, len(features)), create_graph=False))
        wanted = torch.stack(real).mean(dim=0)
        shown, labels = [], []
        for k in range(self.config.linear.copies):
            for c in range(classes):
                stream = generator(self.config.seed, "copies", t, 0, k, c)
                params = augment.draw(self.config.augment, self.setting.side, stream)
                shown.append(augment.apply(images[self.labels == c], params))
                labels.append(self.targets(c, len(shown[-1])))
        found = _gradient(weight, self.network.embed(torch.cat(shown)), torch.cat(labels), create_graph=True)
        return 1 - (wanted * found).sum() / (wanted.norm() * found.norm())


def _gradient(weight: Tensor, features: Tensor, labels: Tensor, create_graph: bool) -> Tensor:
    """Of weights and biases as one vector."""
    leaves = [weight.to(features).clone().requires_grad_(), features.new_zeros(len(weight)).requires_grad_()]
    loss = functional.cross_entropy(features @ leaves[0].T + leaves[1], labels)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, leaves, create_graph=create_graph)])
