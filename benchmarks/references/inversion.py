"""SRe2L, CDA, LPLD and FADRM: statistics of a whole batch at once, torch's Adam, views by PyTorch's own resampling, classes one by one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.references.crops import CropReference
from benchmarks.references.parts import Reference
from bilp.config import METHODS
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images.view import View, draw_view
from bilp.seeds import generator

Statistics = list[tuple[Tensor, Tensor]]
"""Mean and variance `[channels]` of every layer."""


class InversionReference(Reference):
    """Images of a batch have one optimizer, and the loss of a batch is written as the programs write it."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self.network.to(state.images.dtype)
        self._batches = list[tuple[list[int], tuple[int, ...], int | None]]()
        self._leaves, self._optimizers = list[Tensor](), list[torch.optim.Adam]()
        ipc, together = self.config.ipc, self.config.inversion.together
        classes = list(setting.classes)
        if METHODS[self.config.method].adaptive:
            for c in classes:
                rows = [row for row in range(len(self.labels)) if int(self.labels[row]) == c]
                for start in range(0, ipc, together):
                    self._batches.append((rows[start : start + together], (c, start // together), c))
        else:
            for image in range(ipc):
                for start in range(0, len(classes), together):
                    rows = [place * ipc + image for place in range(len(classes))][start : start + together]
                    self._batches.append((rows, (image, start // together), None))
        for rows, _, _ in self._batches:
            leaf = self.images[rows].clone().requires_grad_()
            self._leaves.append(leaf)
            self._optimizers.append(torch.optim.Adam([leaf], lr=self.config.learning_rate, betas=(0.5, 0.9)))
        self._wanted: dict[int | None, Statistics] = {}

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, settings, losses = self.config, self.config.inversion, []
        smallest, way = settings.smallest, settings.curriculum * config.iterations
        if t < way:
            smallest = settings.smallest + (1 - settings.smallest) * 0.5 * (1 + math.cos(math.pi * t / way))
        for (rows, path, c), leaf, optimizer in zip(self._batches, self._leaves, self._optimizers, strict=True):
            stream = generator(config.seed, "view", t, *path)
            view = draw_view(self.setting.side, smallest, settings.flip, settings.roll, stream)
            optimizer.param_groups[0]["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * t / config.iterations))
            loss = self.loss(leaf, rows, view, c)
            optimizer.zero_grad()
            loss.backward(inputs=[leaf])
            optimizer.step()
            dataset = self.setting.pool.dataset
            with torch.no_grad():
                for channel, (mean, std) in enumerate(zip(dataset.mean, dataset.std, strict=True)):
                    leaf[:, channel].clamp_(-mean / std, (1 - mean) / std)
            self.images[rows] = leaf.detach()
            losses.append(loss)
        self.told(losses)

    def loss(self, images: Tensor, rows: list[int], view: View, c: int | None) -> Tensor:
        """Of one batch."""
        settings = self.config.inversion
        logits, found = self.statistics(seen(images, view))
        wrong = functional.cross_entropy(logits, self.labels[rows])
        distances = [(mean - m).norm() + (variance - v).norm() for (mean, variance), (m, v) in zip(found, self.wanted(c), strict=True)]
        return wrong + settings.weight * (settings.first_layer * distances[0] + sum(distances[1:]))

    def wanted(self, c: int | None) -> Statistics:
        """What a batch of a class, or of several, is given."""
        if c is None or self.config.class_statistics.target == "teacher":
            return [(layer.running_mean, layer.running_var) for layer in self.layers()]
        if c not in self._wanted:
            real = self.setting.pool.images(self.setting.pool.by_class[c], self.setting.device).to(self.images)
            with torch.no_grad():
                self._wanted[c] = self.statistics(real)[1]
        return self._wanted[c]

    def layers(self) -> list[nn.BatchNorm2d]:
        """In the order of their modules."""
        return [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]

    def statistics(self, images: Tensor) -> tuple[Tensor, Statistics]:
        """Logits, and mean and variance of all pixels of a channel, over the images `[n, C, H, W]` together."""
        order, found, hooks = self._order(), list[Tensor](), []
        for layer in self.layers():
            hooks.append(layer.register_forward_hook(lambda _, given, __: found.append(given[0])))
        logits = self.network(images)
        for hook in hooks:
            hook.remove()
        maps = [found[place] for place in order]
        return logits, [(each.mean((0, 2, 3)), each.transpose(0, 1).flatten(1).var(1, unbiased=False)) for each in maps]

    def _order(self) -> list[int]:
        """When each layer, in the order of modules, is passed."""
        passed: list[nn.Module] = []
        hooks = [layer.register_forward_hook(lambda module, _, __: passed.append(module)) for layer in self.layers()]
        with torch.no_grad():
            self.network(self.images[:1])
        for hook in hooks:
            hook.remove()
        return [passed.index(layer) for layer in self.layers()]


class ResidualReference(InversionReference):
    """FADRM: the patches of RDED's restatement, of each class those in the middle, and a new optimizer for every block."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        crops = CropReference(setting, state)
        for t in range(self.config.residual.crops):
            crops.iteration(t)
        needed = self.config.ipc * self.config.patches.factor**2
        for c, best in zip(setting.classes, crops.best, strict=True):
            ranked = sorted(best.values(), key=lambda kept: kept[0])
            middle = ranked[(len(ranked) - needed) // 2 :][:needed]
            self.images[setting.rows(c)] = crops.joined([tile for _, tile in middle]).to(self.images)
        self._patches = self.images.clone()
        self._begin(1.0)

    def iteration(self, t: int) -> None:
        """See Reference."""
        blocks = self.config.residual.blocks
        if any(t == block * self.config.iterations // blocks for block in range(1, blocks)):
            self._begin(self.config.residual.share)
        super().iteration(t)

    def _begin(self, share: float) -> None:
        self.images = share * self.images + (1 - share) * self._patches
        self._leaves = [self.images[rows].clone().requires_grad_() for rows, _, _ in self._batches]
        self._optimizers = [torch.optim.Adam([leaf], lr=self.config.learning_rate, betas=(0.5, 0.9)) for leaf in self._leaves]


def seen(images: Tensor, view: View) -> Tensor:
    """Crop, enlarge, mirror, roll."""
    top, left, height, width = view.box
    side = images.shape[-2:]
    cropped = images[..., top : top + height, left : left + width]
    whole = cropped if (height, width) == tuple(side) else functional.interpolate(cropped, tuple(side), mode="bilinear")
    mirrored = whole.flip(-1) if view.mirrored else whole
    return mirrored.roll(view.rolled, (-2, -1))
