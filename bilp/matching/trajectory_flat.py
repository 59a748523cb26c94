"""Trajectory matching in few operations, for devices that are asked for every one: all parameters are one vector.

The training on S is followed on vectors `[P]`, so that an update is one operation, and its derivative is taken backwards by
hand (`bilp.matching.trajectory_by_steps` says how): in memory are the vectors of all steps and the graph of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from bilp.capture import CapturedStep
from bilp.matching.jacobian import Vectors
from bilp.matching.trained_norm import with_cheap_norms
from bilp.matching.trajectory import TrainingStep, Trajectory, TrajectoryGradient
from bilp.matching.trajectory_batches import StepBatches
from bilp.nets import Network


class FlatTraining:
    """A network as a function of one vector of parameters, and derivatives of its loss on a mini-batch."""

    def __init__(self, network: Network) -> None:
        """`network` lends its architecture only."""
        self._network = with_cheap_norms(network)
        named = list(self._network.named_parameters())
        self._names, self._shapes = [name for name, _ in named], [value.shape for _, value in named]

    def gradient(self, weights: Tensor, batch: Tensor, labels: Tensor) -> Tensor:
        """Gradient `[P]` of the mean cross-entropy at `weights` `[P]` on images `[b, C, H, W]` with labels `[b]`, detached."""
        leaf = weights.detach().requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(self._loss(leaf, batch, labels), leaf)
        return found

    def products(
        self, weights: Tensor, batch: Tensor, labels: Tensor, along: Tensor, by_weights: bool = True
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The gradient g `[P]`, and of <along, g> the derivatives by the images and by the weights, detached.

        Args:
            weights: `[P]`.
            batch: images `[b, C, H, W]`.
            labels: int64 `[b]`.
            along: `[P]`.
            by_weights: whether the derivative by the weights is asked for; without it there is None.
        """
        leaf, points = weights.detach().requires_grad_(), batch.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self._loss(leaf, points, labels), leaf, create_graph=True)
        asked = (points, leaf) if by_weights else (points,)
        of_images, *of_weights = torch.autograd.grad(gradient, asked, along, materialize_grads=True)
        return gradient.detach(), of_images, of_weights[0] if by_weights else None

    def _loss(self, weights: Tensor, batch: Tensor, labels: Tensor) -> Tensor:
        parts = weights.split([shape.numel() for shape in self._shapes])
        values = {name: part.view(shape) for name, part, shape in zip(self._names, parts, self._shapes, strict=True)}
        return functional.cross_entropy(functional_call(self._network, values, (batch,)), labels)


@dataclass(frozen=True)
class Comparison:
    """What one comparison with an expert depends on, in tensors of shapes that stay."""

    start: Tensor
    """theta_0, `[P]`."""
    target: Tensor
    """theta*, `[P]`."""
    rate: Tensor
    """beta, a scalar."""
    images: Tensor
    """The mini-batches of all steps, as they enter the network, `[b_1 + ... + b_N, C, H, W]`."""
    labels: Tensor
    """int64 `[b_1 + ... + b_N]`."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in the order of the fields."""
        return self.start, self.target, self.rate, self.images, self.labels

    def take(self, other: Comparison) -> None:
        """Become equal to another one, in place."""
        for place, value in zip(self.tensors, other.tensors, strict=True):
            place.copy_(value)


Compared = tuple[Tensor, Tensor, Tensor]
"""L, a scalar; dL/d(images of all mini-batches); dL/d(beta), a scalar."""
Compare = Callable[[FlatTraining, Comparison, Sequence[int]], Compared]
"""From a comparison and the sizes b_1, ..., b_N of mini-batches; nothing in it depends on values."""


def compare_exactly(training: FlatTraining, given: Comparison, sizes: Sequence[int]) -> Compared:
    """MTT: dL/dtheta_i backwards from dL/dtheta_N, in the memory of N vectors and the graph of one step."""
    batches = list(zip(given.images.split(list(sizes)), given.labels.split(list(sizes)), strict=True))
    points = [given.start]
    for batch, labels in batches:
        points.append(torch.addcmul(points[-1], given.rate, training.gradient(points[-1], batch, labels), value=-1))
    apart, length = points.pop() - given.target, (given.start - given.target).square().sum()
    adjoint = apart * (2.0 / length)
    slopes, found = [], []
    for weights, (batch, labels) in zip(reversed(points), reversed(batches), strict=True):
        gradient, by_images, by_weights = training.products(weights, batch, labels, adjoint)
        assert by_weights is not None
        slopes.append((adjoint * gradient).sum())
        found.append(by_images)
        adjoint = torch.addcmul(adjoint, given.rate, by_weights, value=-1)
    return apart.square().sum() / length, torch.cat(found[::-1]) * -given.rate, -torch.stack(slopes).sum()


def compare_in_constant_memory(training: FlatTraining, given: Comparison, sizes: Sequence[int]) -> Compared:
    """TESLA: the formulas of `bilp.matching.trajectory.constant_memory_gradient`."""
    batches = list(zip(given.images.split(list(sizes)), given.labels.split(list(sizes)), strict=True))
    weights, total = given.start, torch.zeros_like(given.start)
    for batch, labels in batches:
        gradient = training.gradient(weights, batch, labels)
        weights, total = torch.addcmul(weights, given.rate, gradient, value=-1), total.add_(gradient)
    apart, length = torch.addcmul(given.start - given.target, given.rate, total, value=-1), (given.start - given.target).square().sum()
    v = apart * (given.rate * (-2.0 / length))
    weights, found = given.start, []
    for batch, labels in batches:
        gradient, by_images, _ = training.products(weights, batch, labels, v, by_weights=False)
        found.append(by_images)
        weights = torch.addcmul(weights, given.rate, gradient, value=-1)
    return apart.square().sum() / length, torch.cat(found), (apart * total).sum() * (-2.0 / length)


class FlatGradient:
    """The gradient of one comparison after another: what they share is made once, and a CUDA device replays them as one graph."""

    def __init__(self, network: Network, compare: Compare) -> None:
        """`network` lends its architecture only; `compare` is that of MTT or of TESLA."""
        self._training, self._compare = FlatTraining(network), compare
        self._sizes: list[int] = []

    def __call__(
        self, trajectory: Trajectory, images: Tensor, labels: Tensor, step_size: Tensor, steps: Sequence[TrainingStep]
    ) -> TrajectoryGradient:
        """As `bilp.matching.trajectory.unrolled_gradient` or `constant_memory_gradient`, up to rounding.

        Args:
            trajectory: theta_0 and theta*.
            images: S `[M, C, H, W]`.
            labels: int64 `[M]`.
            step_size: Of the training on S, a scalar.
            steps: The mini-batches of that training, in order; a graph is of their sizes.
        """
        batches = StepBatches(images, steps)
        start, target = flat(trajectory.start), flat(trajectory.target)
        given = Comparison(start, target, step_size.detach(), batches.entering(), batches.labels(labels))
        if batches.sizes != self._sizes:
            self._begin(given, batches.sizes)
        self._given.take(given)
        self._step()
        loss, by_entering, by_rate = (value.clone() for value in self._found)
        return TrajectoryGradient(loss, batches.pulled(by_entering), by_rate)

    def _begin(self, like: Comparison, sizes: list[int]) -> None:
        """Tensors that stay where they are, for comparisons of these sizes, and the step from one to the other."""
        self._sizes, self._given = sizes, Comparison(*(torch.empty_like(value) for value in like.tensors))
        self._found = (torch.empty_like(like.rate), torch.empty_like(like.images), torch.empty_like(like.rate))
        self._step = CapturedStep(self._run, like.start.device)

    def _run(self) -> None:
        for place, value in zip(self._found, self._compare(self._training, self._given, self._sizes), strict=True):
            place.copy_(value)


def flat(values: Vectors) -> Tensor:
    """All values in one vector `[P]`."""
    return torch.cat([value.detach().flatten() for value in values])
