"""What the references share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.nets import Network, initialize
from bilp.nets.pooling import AveragePool
from bilp.seeds import generator


def plain_layers(network: nn.Module) -> None:
    """Put PyTorch's own pooling back."""
    for name, module in list(network.named_children()):
        if isinstance(module, AveragePool):
            setattr(network, name, nn.AvgPool2d(module.kernel_size, module.stride))
        plain_layers(module)


class Reference(ABC):
    """A distillation in progress. Its `setting` is used by nothing else: the network gets plain layers. `state` is not changed."""

    images: Tensor
    """Normalized, `[classes * ipc, C, H, W]`, after the iterations so far."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        self.setting, self.config, self.network = setting, setting.config, setting.network
        self.images, self.labels = state.images.clone(), state.labels
        self.velocity = torch.zeros_like(state.images)
        self.stays = [] if state.real is None else (state.real >= 0).nonzero().squeeze(1).tolist()
        self._losses: list[Tensor] = []
        plain_layers(self.network)

    @abstractmethod
    def iteration(self, t: int) -> None:
        """Iteration number `t`, from 0."""

    def run(self, iterations: int) -> list[float]:
        """The first iterations; the loss of each: its mean over image steps, and over classes unless they share one."""
        for t in range(iterations):
            self.iteration(t)
        return [float(loss) for loss in self._losses]

    def told(self, losses: Sequence[Tensor]) -> None:
        """Note the losses of an iteration, scalars."""
        self._losses.append(torch.stack([loss.detach() for loss in losses]).mean())

    def start(self, *path: str | int) -> Network:
        """The network with fresh parameters from the stream called `path`."""
        self.network.train()
        initialize(self.network, generator(self.config.seed, *path))
        return self.network

    def real(self, t: int, step: int, c: int) -> Tensor:
        """Numbers of the real batch of a class."""
        ids = self.setting.pool.by_class[c]
        return ids[torch.randperm(len(ids), generator=generator(self.config.seed, "real", t, step, c))[: self.config.batch_real]]

    def shown(self, ids: Tensor, params: AugParams | None) -> Tensor:
        """Real images, augmented."""
        return augment.apply(self.setting.pool.images(ids, self.setting.device), params)

    def params(self, t: int, step: int, c: int) -> AugParams | None:
        """Siamese augmentation of a class."""
        return augment.draw(self.config.augment, self.setting.side, generator(self.config.seed, "augment", t, step, c))

    def targets(self, c: int, count: int) -> Tensor:
        """The label of a class, `count` times."""
        return torch.full((count,), c, device=self.setting.device)

    def descend(self, gradient: Tensor, learning_rate: float | None = None) -> None:
        """One step of SGD with momentum on all images but the real ones of the set, which are put back."""
        before = self.images[self.stays]
        rate = self.config.learning_rate if learning_rate is None else learning_rate
        self.velocity = self.config.momentum * self.velocity + gradient
        self.images = self.images - rate * self.velocity
        self.images[self.stays] = before

    def train_on_synthetic(self, families: Sequence[str], order: torch.Generator, parameters: torch.Generator) -> None:
        """One epoch of plain SGD on the synthetic images, in random order, each mini-batch under one family of augmentation."""
        weights = list(self.network.parameters())
        for rows in torch.randperm(len(self.images), generator=order).to(self.images.device).split(self.config.batch_train):
            drawn = augment.draw(families, self.setting.side, parameters, count=len(rows))
            loss = functional.cross_entropy(self.network(augment.apply(self.images[rows], drawn)), self.labels[rows])
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight -= self.config.network_learning_rate * gradient


def both_gradients(
    network: nn.Module, parameters: Sequence[Tensor], real: Tensor, synthetic: Tensor, c: int
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Gradient of the loss of the real batch of class `c` and, differentiable, of the synthetic one, with respect to `parameters`."""
    losses = [
        functional.cross_entropy(network(images), torch.full((len(images),), c, device=images.device)) for images in (real, synthetic)
    ]
    return torch.autograd.grad(losses[0], parameters), torch.autograd.grad(losses[1], parameters, create_graph=True)


def feature_distance(network: Network, real: Tensor, synthetic: Tensor) -> Tensor:
    """DM, IDM: squared distance of mean embeddings."""
    return (network.embed(real).mean(0).detach() - network.embed(synthetic).mean(0)).square().sum()
