"""Ridge regression from the synthetic to real samples of a run, on features of the network or of several in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.matching.batched import batched_gradients
from bilp.matching.kernel_regression import Blocks, Kernel, Loss, Regression
from bilp.matching.per_sample import micro_batches
from bilp.matching.pushforward import feature_pushforward
from bilp.nets import Network

Load = Callable[[], None]
"""Puts the parameters of one of the networks into the module that all of them share."""


def stays() -> None:
    """The load of a single network, which is in its module already: loading it again would spoil graphs that are kept."""


@dataclass(frozen=True)
class Gradients:
    """What a step of the synthetic set follows, detached."""

    loss: Tensor
    """Of the real samples, a float64 scalar."""
    images: Tensor
    """Gradient `[M, C, H, W]`."""
    labels: Tensor
    """Gradient, float64 `[M, classes]`."""
    predictions: Tensor
    """Of the real samples, float64 `[n, classes]`."""
    residuals: Tensor
    """The derivative of the loss by these."""


@dataclass(frozen=True)
class Regressor:
    """The networks of an iteration, and how labels of real samples follow from their features and from learned labels."""

    network: Network
    """In eval mode, so that samples do not influence each other."""
    loads: Sequence[Load]
    """One for each network; `stays` for a single one."""
    kernel: Kernel
    loss: Loss
    labels: Tensor
    """The learned labels `[M, classes]` of the synthetic images."""
    mirrored: bool = False
    """Whether the synthetic images count twice, as they are and mirrored."""

    @torch.no_grad()
    def features(self, images: Tensor) -> Blocks:
        """Of images `[n, C, H, W]`, a block `[n, d_k]` of each network."""
        blocks = []
        for load in self.loads:
            load()
            blocks.append(torch.cat([self.network.embed(images[rows]) for rows in micro_batches(images)]))
        return tuple(blocks)

    def regression(self, images: Tensor) -> Regression:
        """The solution on the synthetic images `[M, C, H, W]`."""
        return Regression.solved(self.kernel, self.features(self._shown(images)), self._told())

    def gradients(self, images: Tensor, real: Tensor, labels: Tensor, shares: Tensor) -> Gradients:
        """Loss and gradient of a step.

        Args:
            images: the synthetic images `[M, C, H, W]`.
            real: real images `[n, C, H, W]`.
            labels: their classes, int64 `[n]`.
            shares: how much the loss of each counts, float64 `[n]`, which sum to 1.
        """
        points = images.detach().requires_grad_()
        with torch.enable_grad():
            shown = self._shown(points)
        leaf = shown.detach().requires_grad_()
        kept = list(self._graphs(leaf)) if len(self.loads) == 1 else None  # memory holds one network's graph; others pass twice
        synthetic = self.features(leaf) if kept is None else tuple(graph.detach() for graph in kept)
        solved, reals = Regression.solved(self.kernel, synthetic, self._told()), self.features(real)
        predictions = solved.predictions(reals)
        losses, residuals = self.loss(predictions, labels)
        weighed = shares.unsqueeze(1) * residuals
        blocks, by_label = solved.gradient(reals, weighed)
        by_image = torch.zeros_like(leaf)
        for graph, block in zip(self._graphs(leaf) if kept is None else kept, blocks, strict=True):
            by_image += torch.autograd.grad(graph, leaf, block.to(graph.dtype))[0]
        (gradient,) = torch.autograd.grad(shown, points, by_image)
        return Gradients((shares * losses).sum(), gradient, self.folded(by_label), predictions, weighed)

    def pulled(self, images: Tensor, blocks: Blocks) -> Tensor:
        """What k cotangents of the features of the synthetic images, `[k, m, d_k]` of each network, do to these: `[k, M, C, H, W]`."""
        points = images.detach().requires_grad_()
        found = torch.zeros(len(blocks[0]), *images.shape, dtype=images.dtype, device=images.device)
        for load, block in zip(self.loads, blocks, strict=True):
            load()
            with torch.enable_grad():
                graph = self.network.embed(self._shown(points))
            found += batched_gradients([graph], [points], [block.to(graph.dtype)])[0]
        return found

    def pushed(self, images: Tensor, directions: Tensor) -> Blocks:
        """How the features of the synthetic images change in directions `[k, M, C, H, W]`: `[k, m, d_k]` of each network."""
        shown, moved = self._shown(images.detach()), torch.stack([self._shown(own) for own in directions])
        blocks = []
        for load in self.loads:
            load()
            (change,) = feature_pushforward(self.network, shown, moved)
            blocks.append(len(shown) * change)  # which is that of a mean
        return tuple(blocks)

    def folded(self, by_label: Tensor) -> Tensor:
        """What belongs to the labels of images that count twice, `[..., m, classes]`, as what belongs to those of the M images."""
        if not self.mirrored:
            return by_label
        one, other = by_label.chunk(2, dim=-2)
        return one + other

    def unfolded(self, directions: Tensor) -> Tensor:
        """Directions of the learned labels `[..., M, classes]` as those of the images that count twice."""
        return torch.cat([directions, directions], dim=-2) if self.mirrored else directions

    def _told(self) -> Tensor:
        return self.unfolded(self.labels)

    def _shown(self, images: Tensor) -> Tensor:
        return torch.cat([images, images.flip(-1)]) if self.mirrored else images

    def _graphs(self, leaf: Tensor) -> Iterator[Tensor]:
        """Features of each network with their graphs, one after the other."""
        for load in self.loads:
            load()
            with torch.enable_grad():
                graph = self.network.embed(leaf)
            yield graph


class Drawn:
    """The regressor that was drawn last: what is measured next is measured under it."""

    def __init__(self) -> None:
        self._regressor: Regressor | None = None

    def take(self, regressor: Regressor) -> Regressor:
        """Keep it, and give it back."""
        self._regressor = regressor
        return regressor

    @property
    def regressor(self) -> Regressor:
        """Raises AssertionError before the first."""
        assert self._regressor is not None, "no regressor was drawn"
        return self._regressor
