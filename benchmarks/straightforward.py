"""Every method once more, as one would write it first: a loop over the classes, whole batches, plain autograd.

The formulas and loops are those of the papers, on plain torch.nn layers. What is not compared is shared with the program:
the definition of the random streams, augmentation, CutMix, k-means, the training of a network on the synthetic set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.nets.pooling import AveragePool
from bilp.seeds import generator


class Loop(Protocol):
    """A distillation in progress."""

    images: Tensor
    """Normalized, `[classes * ipc, C, H, W]`."""

    def iteration(self, t: int) -> None:
        """Iteration number `t`, from 0."""


def plain_layers(network: nn.Module) -> None:
    """Put PyTorch's own pooling back."""
    for name, module in list(network.named_children()):
        if isinstance(module, AveragePool):
            setattr(network, name, nn.AvgPool2d(module.kernel_size, module.stride))
        plain_layers(module)


class Parts:
    """What the loops share."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        self.setting, self.config, self.network = setting, setting.config, setting.network
        self.images, self.labels = state.images, state.labels
        self.velocity = torch.zeros_like(state.images)

    def real(self, t: int, step: int, c: int) -> Tensor:
        """Numbers of the real batch of a class."""
        return self.setting.pool.draw(c, self.config.batch_real, generator(self.config.seed, "real", t, step, c))

    def shown(self, ids: Tensor, params: AugParams | None) -> Tensor:
        """Real images, augmented."""
        return augment.apply(self.setting.pool.images(ids, self.setting.device), params)

    def params(self, t: int, step: int, c: int) -> AugParams | None:
        """Siamese augmentation of a class."""
        return self.setting.draw_augmentation("augment", t, step, c)

    def targets(self, c: int, count: int) -> Tensor:
        """The label of a class, `count` times."""
        return torch.full((count,), c, device=self.setting.device)

    def descend(self, gradient: Tensor) -> None:
        """One step of SGD with momentum on all images."""
        self.velocity = self.config.momentum * self.velocity + gradient
        self.images = self.images - self.config.learning_rate * self.velocity


class SummedLoop(Parts):
    """DM, DC and DSA: one step for the sum over classes."""

    def iteration(self, t: int) -> None:
        """See Loop."""
        self.setting.draw_network("network", t)
        features = self.config.method == "dm"
        for outer in range(1 if features else self.config.outer_loops):
            if outer > 0:
                self.setting.train_network(self.images, self.labels, t, outer - 1)
            leaf = self.images.clone().requires_grad_()
            for c in range(self.setting.pool.classes):
                params = self.params(t, outer, c)
                real = self.shown(self.real(t, outer, c), params)
                synthetic = augment.apply(leaf[self.setting.rows(c)], params)
                self._loss(features, real, synthetic, c).backward(inputs=[leaf])
            assert leaf.grad is not None
            self.descend(leaf.grad)

    def _loss(self, features: bool, real: Tensor, synthetic: Tensor, c: int) -> Tensor:
        if features:
            return feature_distance(self.network, real, synthetic)
        return gradient_distance(self.network, real, synthetic, self.targets(c, len(real)), self.targets(c, len(synthetic)))


def feature_distance(network: nn.Module, real: Tensor, synthetic: Tensor) -> Tensor:
    """DM: squared distance of mean embeddings."""
    embed = cast(Callable[[Tensor], Tensor], network.embed)
    return (embed(real).mean(0).detach() - embed(synthetic).mean(0)).square().sum()


def gradient_distance(network: nn.Module, real: Tensor, synthetic: Tensor, real_labels: Tensor, labels: Tensor) -> Tensor:
    """DC: one minus the cosine, over all rows of the gradients of weights."""
    parameters = [parameter for parameter in network.parameters() if parameter.dim() >= 2]
    wanted, found = both_gradients(network, parameters, real, synthetic, real_labels, labels)
    total = torch.zeros((), device=real.device)
    for one, other in zip(wanted, found, strict=True):
        a, b = one.flatten(1), other.flatten(1)
        total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return total


def both_gradients(
    network: nn.Module, parameters: Sequence[Tensor], real: Tensor, synthetic: Tensor, real_labels: Tensor, labels: Tensor
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Gradient of the real and, differentiable, of the synthetic batch."""
    wanted = torch.autograd.grad(functional.cross_entropy(network(real), real_labels), parameters)
    found = torch.autograd.grad(functional.cross_entropy(network(synthetic), labels), parameters, create_graph=True)
    return wanted, found


class AlignmentLoop(Parts):
    """CAFE: one graph over all classes."""

    def iteration(self, t: int) -> None:
        """See Loop."""
        settings, seed = self.config.alignment, self.config.seed
        self.setting.draw_network("network", t)
        recent: list[float] = []
        for step in range(settings.most_steps):
            leaf = self.images.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._loss(leaf, t, step), leaf)
            self.descend(gradient)
            recent.append(self._accuracy(t, step))
            if _spread(recent, settings.watched) < settings.settled:
                return
            inner: list[float] = []
            for epoch in range(settings.most_epochs if step + 1 < settings.most_steps else 0):
                order = torch.randperm(len(self.images), generator=generator(seed, "order", t, step, epoch)).to(self.images.device)
                self._epoch(order)
                inner.append(self._accuracy(t, step, epoch))
                if _spread(inner, settings.watched) > settings.moved:
                    break

    def _loss(self, leaf: Tensor, t: int, step: int) -> Tensor:
        seen: list[Tensor] = []
        layers = [module for module in self.network.modules() if isinstance(module, nn.ReLU | nn.Flatten)]
        hooks = [module.register_forward_hook(lambda *call: seen.append(call[2])) for module in layers]
        settings = self.config.alignment
        weights = [settings.shallow_weight] * (len(layers) - 2) + [settings.deep_weight, 2 * settings.deep_weight]
        total, centers, features, truth = torch.zeros((), device=leaf.device), [], [], []
        for c in range(self.setting.pool.classes):
            params = self.params(t, step, c)
            seen.clear()
            with torch.no_grad():
                self.network(self.shown(self.real(t, step, c), params))
            self.network(augment.apply(leaf[self.setting.rows(c)], params))
            real, synthetic = seen[: len(layers)], seen[len(layers) :]
            for weight, a, b in zip(weights, real, synthetic, strict=True):
                total = total + weight * (a.mean(0) - b.mean(0)).square().sum()
            centers.append(synthetic[-1].mean(0))
            features.append(real[-1])
            truth.append(self.targets(c, len(real[-1])))
        for hook in hooks:
            hook.remove()
        logits = torch.cat(features) @ torch.stack(centers).T
        return total + settings.discrimination * functional.cross_entropy(logits, torch.cat(truth), reduction="sum")

    @torch.no_grad()
    def _accuracy(self, *path: int) -> float:
        right = count = 0
        for c in range(self.setting.pool.classes):
            stream = generator(self.config.seed, "measure", *path, c)
            ids = self.setting.pool.draw(c, self.config.alignment.measured_per_class, stream)
            right += int((self.network(self.shown(ids, None)).argmax(1) == c).sum())
            count += len(ids)
        return right / count

    def _epoch(self, order: Tensor) -> None:
        parameters = list(self.network.parameters())
        for rows in order.split(self.config.batch_train):
            gradients = torch.autograd.grad(functional.cross_entropy(self.network(self.images[rows]), self.labels[rows]), parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= self.config.network_learning_rate * gradient


def _spread(values: Sequence[float], watched: int) -> float:
    last = values[-watched:]
    return max(last) - min(last) if len(last) == watched else float("nan")
