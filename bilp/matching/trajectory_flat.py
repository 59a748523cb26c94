"""Trajectory matching in few operations, for devices that are asked for every one: all parameters are one vector.

The training on S is followed on vectors `[P]`, so that an update is one operation, and its derivative is taken backwards by
hand (`bilp.matching.trajectory_by_steps` says how): in memory are the vectors of all steps, and as many graphs as fit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn import functional

from bilp.capture import CapturedStep
from bilp.matching.jacobian import Vectors
from bilp.matching.trained_norm import with_cheap_norms
from bilp.matching.trajectory import TrainingStep, Trajectory, TrajectoryGradient, counting, is_soft, targets
from bilp.matching.trajectory_batches import StepBatches
from bilp.nets import Network

GRAPH_BYTES = 32 * 2**30
"""What the graphs of steps may hold together on a device; those of other steps are made twice, which costs a third more."""


@dataclass(frozen=True)
class FlatStep:
    """One step of the training on S."""

    weights: Tensor
    """theta_i `[P]`, a leaf."""
    batch: Tensor
    """The images as they enter the network, `[b, C, H, W]`, a leaf."""
    labels: Tensor
    """int64 `[b]`, or the logits of soft ones `[b, classes]`, a leaf."""
    gradient: Tensor
    """g_i `[P]`, with its graph if that was kept."""

    def after(self, rate: Tensor) -> Tensor:
        """theta_{i+1} = theta_i - beta g_i, detached."""
        return torch.addcmul(self.weights.detach(), rate, self.gradient.detach(), value=-1)

    def pulled(self, along: Tensor, by_weights: bool) -> tuple[Tensor, ...]:
        """The derivatives of <along, g_i> by the images, by the logits of soft labels where labels are these, and by the weights if they
        are asked for. Frees the graph."""
        asked = [self.batch, *([self.labels] if is_soft(self.labels) else []), *([self.weights] if by_weights else [])]
        return torch.autograd.grad(self.gradient, asked, along, materialize_grads=True)


class FlatTraining:
    """A network as a function of one vector of parameters, and derivatives of its loss on a mini-batch."""

    def __init__(self, network: Network) -> None:
        """`network` lends its architecture only."""
        self._network = with_cheap_norms(network)
        named = list(self._network.named_parameters())
        self._names, self._shapes = [name for name, _ in named], [value.shape for _, value in named]

    def step(self, weights: Tensor, batch: Tensor, labels: Tensor, keep: bool) -> FlatStep:
        """A step from `weights` `[P]` by the mean cross-entropy.

        Args:
            weights: `[P]`.
            batch: images `[b, C, H, W]`.
            labels: int64 `[b]`, or the logits of soft ones `[b, classes]`.
            keep: whether the step can be differentiated, and holds the graph for that.
        """
        leaf, points = weights.detach().requires_grad_(), batch.detach().requires_grad_(keep)
        told = labels.detach().requires_grad_(keep and is_soft(labels))
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self._loss(leaf, points, told), leaf, create_graph=keep)
        return FlatStep(leaf, points, told, gradient)

    def again(self, step: FlatStep) -> FlatStep:
        """The step with its graph."""
        return step if step.gradient.requires_grad else self.step(step.weights, step.batch, step.labels, keep=True)

    def _loss(self, weights: Tensor, batch: Tensor, labels: Tensor) -> Tensor:
        parts = weights.split([shape.numel() for shape in self._shapes])
        values = {name: part.view(shape) for name, part, shape in zip(self._names, parts, self._shapes, strict=True)}
        return functional.cross_entropy(functional_call(self._network, values, (batch,)), targets(labels))


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
    """int64 `[b_1 + ... + b_N]`, or the logits of soft ones `[b_1 + ... + b_N, classes]`."""
    skipped: int = 0
    """So many of the P numbers, the first ones, do not count in distances ..."""
    nearest: float = 0.0
    """... nor does this share of the others (see Trajectory)."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in the order of the fields."""
        return self.start, self.target, self.rate, self.images, self.labels

    def counted(self, apart: Tensor) -> tuple[Tensor, Tensor]:
        """`apart` `[P]`, which is theta_N - theta*, with zeros where numbers do not count; and |theta_0 - theta*|^2 over those that do."""
        whole, kept = self.start - self.target, counting(apart, self.skipped, self.nearest)
        if kept is not None:
            apart, whole = apart * kept, whole * kept
        return apart, whole.square().sum()

    def batches(self, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Images and labels of every step."""
        return list(zip(self.images.split(list(sizes)), self.labels.split(list(sizes)), strict=True))

    def take(self, other: Comparison) -> None:
        """Become equal to another one, in place."""
        for place, value in zip(self.tensors, other.tensors, strict=True):
            place.copy_(value)


Compared = tuple[Tensor, ...]
"""L, a scalar; dL/d(beta), a scalar; dL/d(images of all mini-batches); and, where labels are soft, dL/d(the logits of all of these)."""
Compare = Callable[[FlatTraining, Comparison, Sequence[int], int], Compared]
"""From a comparison, the sizes b_1, ..., b_N of mini-batches and how many steps keep their graphs; nothing in it depends on values."""


def compare_exactly(training: FlatTraining, given: Comparison, sizes: Sequence[int], kept: int) -> Compared:
    """MTT: dL/dtheta_i backwards from dL/dtheta_N, in the memory of N vectors and of the last graphs."""
    batches, weights, steps = given.batches(sizes), given.start, list[FlatStep]()
    for number, (batch, labels) in enumerate(batches):
        steps.append(training.step(weights, batch, labels, keep=number >= len(batches) - kept))
        weights = steps[-1].after(given.rate)
    apart, length = given.counted(weights - given.target)
    adjoint = apart * (2.0 / length)
    slopes, found = [], list[tuple[Tensor, ...]]()
    while steps:
        step = training.again(steps.pop())
        *by_batch, by_weights = step.pulled(adjoint, by_weights=True)
        slopes.append((adjoint * step.gradient.detach()).sum())
        found.append(tuple(by_batch))
        adjoint = torch.addcmul(adjoint, given.rate, by_weights, value=-1)
        del step
    pulled = [torch.cat(parts) * -given.rate for parts in zip(*found[::-1], strict=True)]
    return apart.square().sum() / length, -torch.stack(slopes).sum(), *pulled


def compare_in_constant_memory(training: FlatTraining, given: Comparison, sizes: Sequence[int], kept: int) -> Compared:
    """TESLA: the formulas of `bilp.matching.trajectory.constant_memory_gradient`; the last graphs are kept from the first pass."""
    batches, weights, total = given.batches(sizes), given.start, torch.zeros_like(given.start)
    last = deque[FlatStep]()
    for number, (batch, labels) in enumerate(batches):
        step = training.step(weights, batch, labels, keep=number >= len(batches) - kept)
        weights, total = step.after(given.rate), total.add_(step.gradient.detach())
        if step.gradient.requires_grad:
            last.append(step)
        del step
    apart, length = given.counted(torch.addcmul(given.start - given.target, given.rate, total, value=-1))
    v = apart * (given.rate * (-2.0 / length))
    weights, found = given.start, list[tuple[Tensor, ...]]()
    for batch, labels in batches:
        step = last.popleft() if len(found) >= len(batches) - kept else training.step(weights, batch, labels, keep=True)
        found.append(step.pulled(v, by_weights=False))
        weights = step.after(given.rate)
        del step
    pulled = [torch.cat(parts) for parts in zip(*found, strict=True)]
    return apart.square().sum() / length, (apart * total).sum() * (-2.0 / length), *pulled


class FlatGradient:
    """The gradient of one comparison after another: what they share is made once, and a CUDA device replays them as one graph."""

    def __init__(self, network: Network, compare: Compare, graph_bytes: int = GRAPH_BYTES) -> None:
        """`network` lends its architecture only; `compare` is that of MTT or of TESLA; `graph_bytes` is what graphs may hold."""
        self._training, self._compare, self._graph_bytes = FlatTraining(network), compare, graph_bytes
        self._sizes: list[int] = []

    def __call__(
        self, trajectory: Trajectory, images: Tensor, labels: Tensor, step_size: Tensor, steps: Sequence[TrainingStep]
    ) -> TrajectoryGradient:
        """As `bilp.matching.trajectory.unrolled_gradient` or `constant_memory_gradient`, up to rounding.

        Args:
            trajectory: theta_0 and theta*.
            images: S `[M, C, H, W]`.
            labels: int64 `[M]`, or the logits of soft ones `[M, classes]`.
            step_size: Of the training on S, a scalar.
            steps: The mini-batches of that training, in order; a graph is of their sizes.
        """
        batches = StepBatches(images, steps)
        start, target = flat(trajectory.start), flat(trajectory.target)
        skipped = sum(value.numel() for value in trajectory.start[: trajectory.first])
        entering = (step_size.detach(), batches.entering(), batches.labels(labels.detach()))
        given = Comparison(start, target, *entering, skipped, trajectory.nearest)
        if batches.sizes != self._sizes:
            self._begin(given, batches.sizes)
        self._given.take(given)
        self._step()
        loss, by_rate, by_entering, *by_told = (value.clone() for value in self._found)
        by_labels = batches.pulled_labels(by_told[0], labels) if by_told else None
        return TrajectoryGradient(loss, batches.pulled(by_entering), by_rate, by_labels)

    def _begin(self, like: Comparison, sizes: list[int]) -> None:
        """Tensors that stay where they are, for comparisons of these sizes, and the step from one to the other."""
        start, target, rate, images, labels = (torch.empty_like(value) for value in like.tensors)
        self._sizes, self._given = sizes, Comparison(start, target, rate, images, labels, like.skipped, like.nearest)
        self._kept = self._graph_bytes // self._bytes_of_a_graph(like, sizes)
        learned = (like.rate, like.images, like.labels) if is_soft(like.labels) else (like.rate, like.images)
        self._found = tuple(torch.empty_like(value) for value in (like.rate, *learned))
        self._step = CapturedStep(self._run, like.start.device)

    def _run(self) -> None:
        found = self._compare(self._training, self._given, self._sizes, self._kept)
        for place, value in zip(self._found, found, strict=True):
            place.copy_(value)

    def _bytes_of_a_graph(self, like: Comparison, sizes: list[int]) -> int:
        """At most what the graph of the first step, which is none of the smaller ones, keeps for its derivative."""
        kept = []

        def keep(value: Tensor) -> Tensor:
            kept.append(value.numel() * value.element_size())
            return value.detach()

        with saved_tensors_hooks(keep, lambda value: value):
            self._training.step(like.start, *like.batches(sizes)[0], keep=True)
        return sum(kept)


def flat(values: Vectors) -> Tensor:
    """All values in one vector `[P]`."""
    return torch.cat([value.detach().flatten() for value in values])
