"""DM, DC, DSA and CAFE: one step of all images on the sum over classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.references.parts import Reference, both_gradients, feature_distance
from bilp.images import augment
from bilp.seeds import generator


class SummedReference(Reference):
    """DM, DC and DSA."""

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, losses = self.config, []
        self.start("network", t)
        for outer in range(1 if config.method == "dm" else config.outer_loops):
            if outer > 0:
                self._train(t, outer - 1)
            leaf = self.images.clone().requires_grad_()
            for c in range(self.setting.pool.classes):
                params = self.params(t, outer, c)
                real = self.shown(self.real(t, outer, c), params)
                loss = self._loss(real, augment.apply(leaf[self.labels == c], params), c)
                loss.backward(inputs=[leaf])
                losses.append(loss)
            assert leaf.grad is not None
            self.descend(leaf.grad)
        self.told(losses)

    def _loss(self, real: Tensor, synthetic: Tensor, c: int) -> Tensor:
        if self.config.method == "dm":
            return feature_distance(self.network, real, synthetic)
        parameters = [parameter for parameter in self.network.parameters() if parameter.dim() >= 2]  # no biases, no scales
        total = torch.zeros((), device=real.device)
        for one, other in zip(*both_gradients(self.network, parameters, real, synthetic, c), strict=True):
            a, b = one.flatten(1), other.flatten(1)
            total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
        return total

    def _train(self, t: int, outer: int) -> None:
        order, parameters = (generator(self.config.seed, name, t, outer) for name in ("order", "train_augment"))
        for _ in range(self.config.inner_epochs):
            self.train_on_synthetic(self.config.augment if self.config.method == "dsa" else (), order, parameters)


class AlignmentReference(Reference):
    """CAFE: one graph over all classes."""

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, settings, losses = self.config, self.config.alignment, []
        self.start("network", t)
        halvings = sum(t >= share * config.iterations for share in settings.decay_at)
        recent: list[float] = []
        for step in range(settings.most_steps):
            leaf = self.images.clone().requires_grad_()
            loss = self.loss(leaf, t, step)
            self.descend(torch.autograd.grad(loss, leaf)[0], config.learning_rate / 2**halvings)
            losses.append(loss / self.setting.pool.classes)
            recent.append(self._accuracy(t, step))
            if _spread(recent, settings.watched) < settings.settled:
                break
            inner: list[float] = []
            for epoch in range(settings.most_epochs if step + 1 < settings.most_steps else 0):
                path = (t, step, epoch)
                self.train_on_synthetic(config.augment, *(generator(config.seed, name, *path) for name in ("order", "train_augment")))
                inner.append(self._accuracy(*path))
                if _spread(inner, settings.watched) > settings.moved:
                    break
        self.told(losses)

    def loss(self, leaf: Tensor, t: int, step: int) -> Tensor:
        """The objective of an image step, summed over classes; `leaf` are the synthetic images."""
        seen: list[Tensor] = []
        layers = [module for module in self.network.modules() if isinstance(module, nn.ReLU | nn.SiLU | nn.Flatten)]
        hooks = [module.register_forward_hook(lambda *call: seen.append(call[2])) for module in layers]
        settings = self.config.alignment
        # The last two layers of the paper's five, f4 and f5, are the same numbers in this network.
        weights = [settings.shallow_weight] * (len(layers) - 2) + [settings.deep_weight, 2 * settings.deep_weight]
        total, centers, features, truth = torch.zeros((), device=leaf.device), [], [], []
        for c in range(self.setting.pool.classes):
            params = self.params(t, step, c)
            seen.clear()
            with torch.no_grad():
                self.network(self.shown(self.real(t, step, c), params))
            self.network(augment.apply(leaf[self.labels == c], params))
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
        for c, ids in enumerate(self.setting.pool.by_class):
            order = torch.randperm(len(ids), generator=generator(self.config.seed, "measure", *path, c))
            drawn = ids[order[: self.config.alignment.measured_per_class]]
            right += int((self.network(self.shown(drawn, None)).argmax(1) == c).sum())
            count += len(drawn)
        return right / count


def _spread(values: Sequence[float], watched: int) -> float:
    last = values[-watched:]
    return max(last) - min(last) if len(last) == watched else float("nan")
