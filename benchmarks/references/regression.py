"""FRePo and RFAD: ridge regression by autograd through the whole solve, and their optimizers as the papers write them."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.references.parts import Reference
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.nets import build, initialize
from bilp.nets.initialization import gaussian_process, lecun
from bilp.seeds import generator


class RegressionReference(Reference):
    """Learned labels, and moments of everything that is learned; kernel and solve in float64."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self.count = setting.pool.classes
        self.soft = functional.one_hot(self.labels, self.count).to(self.images) - 1 / self.count
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}

    @abstractmethod
    def embedded(self, images: Tensor) -> Tensor:
        """Features of all networks of the iteration, one row for each image."""

    @abstractmethod
    def kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """Of two sets of features."""

    def predicted(self, t: int, images: Tensor, soft: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """Predictions for the real samples of all classes, differentiable, and the classes of these."""
        ids = [self.real(t, 0, c) for c in range(self.count)]
        with torch.no_grad():
            real = self.embedded(self.setting.pool.images(torch.cat(ids), self.setting.device).to(images)).double()
        synthetic = self.embedded(images).double()
        among = self.kernel(synthetic, synthetic)
        among = among + ridge * among.trace() / len(among) * torch.eye(len(among), device=among.device)
        wanted = torch.cat([self.targets(c, len(own)) for c, own in enumerate(ids)])
        return self.kernel(real, synthetic) @ torch.inverse(among) @ soft.double(), wanted

    def moments(self, name: str, gradient: Tensor, t: int, belief: bool) -> tuple[Tensor, Tensor]:
        """The first and second moments of a gradient so far, without the bias of their beginning."""
        first, second = self._moments.get(name, (torch.zeros_like(gradient), torch.zeros_like(gradient)))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * (gradient - first if belief else gradient) ** 2
        self._moments[name] = first, second
        return first / (1 - 0.9 ** (t + 1)), second / (1 - 0.999 ** (t + 1))


class FeatureRegressionReference(RegressionReference):
    """A pool of whole networks, each with an optimizer of its own."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self.soft = self.soft / math.sqrt(self.count / 10)
        self._born = 0
        settings = self.config.regression
        self._pool = [self._fresh() for _ in range(settings.networks)]
        self._ages = [settings.most_updates // settings.networks * k for k in range(settings.networks)]

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, settings = self.config, self.config.regression
        which = int(torch.randint(settings.networks, (1,), generator=generator(config.seed, "pool_choice", t)))
        self.network, optimizer = self._pool[which]
        self.network.eval()
        images, soft = self.images.clone().requires_grad_(), self.soft.clone().requires_grad_()
        shown, told = (images, soft)
        if settings.mirrored:
            shown, told = torch.cat([images, images.flip(-1)]), torch.cat([soft, soft])
        predictions, wanted = self.predicted(t, shown, told, settings.ridge)
        targets = functional.one_hot(wanted, self.count) - 1 / self.count
        loss = ((predictions - targets) ** 2 / 2).sum(1).mean()
        best = soft.topk(2, dim=1).values
        margin = -(best[:, 0] - best[:, 1]).clamp(max=1 / self.count).mean()
        by_image, by_label = torch.autograd.grad(loss + settings.label_margin * margin, (images, soft))
        rate = config.learning_rate * (
            settings.final_rate + (1 - settings.final_rate) * (1 + math.cos(math.pi * t / config.iterations)) / 2
        )
        self.images = self._lamb("images", self.images, by_image, t, rate)
        if settings.learn_labels:
            self.soft = self._lamb("soft", self.soft, by_label, t, rate)
        if self._ages[which] > settings.most_updates:
            self._pool[which], self._ages[which] = self._fresh(), 0
        else:
            self._ages[which] += 1
            self.network.train()
            optimizer.zero_grad()
            rows = torch.arange(len(self.images))
            if len(rows) >= config.batch_train:
                rows = torch.randperm(len(rows), generator=generator(config.seed, "pool_training", t))[: config.batch_train]
            ((self.network(self.images[rows]) - self.soft[rows]) ** 2 / 2).sum(1).mean().backward()
            optimizer.step()
        self.told([loss])

    def embedded(self, images: Tensor) -> Tensor:
        """See RegressionReference."""
        return self.network.embed(images)

    def kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """See RegressionReference."""
        return one @ other.T

    def _fresh(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        network = build(self.config.network, self.setting.pool.dataset.shape, self.count)
        initialize(network, generator(self.config.seed, "regression_network", self._born), lecun)
        self._born += 1
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.9
        network.to(self.setting.device, self.images.dtype)
        return network, torch.optim.Adam(network.parameters(), lr=self.config.network_learning_rate)

    def _lamb(self, name: str, value: Tensor, gradient: Tensor, t: int, rate: float) -> Tensor:
        first, second = self.moments(name, gradient, t, belief=False)
        adam = first / (second.sqrt() + 1e-6)
        return value - rate * value.norm() / adam.norm() * adam


class RandomFeatureReference(RegressionReference):
    """Whole networks that are made anew for each iteration."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self._base, self._matrix = self.images, torch.eye(self.images[0].numel()).to(self.images)
        self._log_scale = torch.zeros((), dtype=torch.float64, device=self.images.device)
        self._networks: list[nn.Module] = []

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, settings = self.config, self.config.random_features
        self._networks = []
        for k in range(settings.networks):
            network = build(config.network, self.setting.pool.dataset.shape, self.count)
            initialize(network, generator(config.seed, "network", t, k), gaussian_process)
            self._networks.append(network.to(self.setting.device, self.images.dtype).eval())
        learned = [value.clone().requires_grad_() for value in (self._base, self._matrix, self.soft, self._log_scale)]
        base, matrix, soft, log_scale = learned
        images = (base.flatten(1) @ matrix).view_as(base)
        predictions, wanted = self.predicted(t, images, soft, settings.ridge)
        if settings.loss == "platt":
            loss = functional.cross_entropy(log_scale.exp() * predictions, wanted)
        else:
            loss = ((predictions - functional.one_hot(wanted, self.count) + 1 / self.count) ** 2).mean() / 2
        found = torch.autograd.grad(loss, learned, materialize_grads=True)
        rates = (config.learning_rate, settings.transform_rate, config.learning_rate * settings.learn_labels, settings.scale_rate)
        names = ("base", "matrix", "soft", "scale")
        self._base, self._matrix, self.soft, self._log_scale = (
            self._belief(name, value.detach(), gradient, t, rate)
            for name, value, gradient, rate in zip(names, learned, found, rates, strict=True)
        )
        self.images = (self._base.flatten(1) @ self._matrix).view_as(self._base)
        self.told([loss])

    def embedded(self, images: Tensor) -> Tensor:
        """See RegressionReference."""
        return torch.cat([network.embed(images) for network in self._networks], dim=1)  # type: ignore[operator]

    def kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """See RegressionReference."""
        return 2 * one @ other.T / one.shape[1] + 0.01

    def _belief(self, name: str, value: Tensor, gradient: Tensor, t: int, rate: float) -> Tensor:
        first, second = self.moments(name, gradient, t, belief=True)
        return value - rate * first / (second.sqrt() + 1e-16)
