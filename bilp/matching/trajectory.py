"""Trajectory matching (MTT; Cazenavette et al. 2022, and TESLA; Cui et al. 2023): where training on S leads.

L = |theta_N - theta*|^2 / |theta_0 - theta*|^2, where theta_0 and theta* are parameters of an expert some epochs apart
and theta_N follows from theta_0 by N steps of SGD with a learned step size on mini-batches of S.

TESLA's program multiplies a tuple by 2, which repeats it, and so loses that factor of the gradient (distill.py:418); here it is
there, and rules halve the program's step size of the images. MTT's takes mini-batches of a shuffled order from its end, here they
come from its beginning, which is the same by law. TESLA's teacher_label (soft labels) does not exist here.

With soft labels (DATM; Guo et al. 2024) an image's label is softmax(z) of logits z that are learned with it, and the training minimizes
the cross-entropy from these. Where not all layers count (PAD; Li et al. 2024) L is a ratio of distances over the parameters that do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from bilp.errors import ConfigError
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.matching.base import Matching
from bilp.matching.jacobian import Vectors
from bilp.nets import Network


@dataclass(frozen=True)
class TrainingStep:
    """One step of the training on S."""

    rows: Tensor
    """Images of its mini-batch, int64 `[b]`, each at most once."""
    params: AugParams | None
    """Their augmentation."""


@dataclass(frozen=True)
class TrajectoryGradient:
    """Of one comparison; everything detached."""

    loss: Tensor
    """L, a scalar."""
    images: Tensor
    """dL/dS, in the shape of S."""
    step_size: Tensor
    """dL/d(step size), a scalar."""
    labels: Tensor | None = None
    """dL/d(logits of soft labels) `[M, classes]`; None for labels that are classes."""


@dataclass(frozen=True)
class Trajectory:
    """A piece of an expert's training; parameters in the order of `network.parameters()`, detached."""

    start: Vectors
    """theta_0."""
    target: Vectors
    """theta*."""
    first: int = 0
    """The first of the parameters of `start` that counts in distances: those before it are of layers that nobody compares."""
    nearest: float = 0.0
    """Share of the numbers in the others that do not count either: those in which theta_N ends nearest to theta*."""

    @property
    def length(self) -> Tensor:
        """|theta_0 - theta*|^2, a scalar."""
        return squared_distance(self.start, self.target)

    def ratio(self, weights: Vectors) -> Tensor:
        """L with `weights` as theta_N, a scalar. Which numbers count is taken for a constant."""
        kept = self.kept(tuple((a - b).detach() for a, b in zip(weights, self.target, strict=True)))
        if kept is None:
            return squared_distance(weights, self.target) / self.length
        return squared_distance(weights, self.target, kept) / squared_distance(self.start, self.target, kept)

    def kept(self, apart: Vectors) -> Vectors | None:
        """1 for every number that counts and 0 for others, where theta_N - theta* is `apart`; None where all count."""
        skipped = sum(value.numel() for value in apart[: self.first])
        kept = counting(torch.cat([value.flatten() for value in apart]), skipped, self.nearest)
        if kept is None:
            return None
        parts = kept.split([value.numel() for value in apart])
        return tuple(part.view(value.shape) for part, value in zip(parts, apart, strict=True))


def counting(apart: Tensor, skipped: int, nearest: float) -> Tensor | None:
    """1 for every number that counts and 0 for others, `[P]`, where theta_N - theta* is `apart` `[P]`; None where all count.

    The first `skipped` do not, and of the rest the share `nearest` with the smallest absolute values, rounded down.
    """
    if not (skipped or nearest):
        return None
    left_out = int(nearest * (len(apart) - skipped))
    order = apart[skipped:].abs().argsort(stable=True) + skipped
    return torch.ones_like(apart).index_fill(0, order[:left_out], 0.0).index_fill(0, torch.arange(skipped, device=apart.device), 0.0)


Gradient = Callable[[Trajectory, Tensor, Tensor, Tensor, Sequence[TrainingStep]], TrajectoryGradient]
"""From a piece of an expert's training, S with its labels, the step size and the mini-batches, to the gradients of the comparison.

Labels are classes, int64 `[M]`, or the logits of soft labels, floating `[M, classes]`."""


def squared_distance(first: Vectors, second: Vectors, kept: Vectors | None = None) -> Tensor:
    """Squared Euclidean distance over all parameters, or over the numbers at which `kept` is 1 and not 0, a scalar."""
    if kept is not None:
        return torch.stack([((a - b) * k).square().sum() for a, b, k in zip(first, second, kept, strict=True)]).sum()
    return torch.stack([(a - b).square().sum() for a, b in zip(first, second, strict=True)]).sum()


def unrolled_gradient(
    network: Network, trajectory: Trajectory, images: Tensor, labels: Tensor, step_size: Tensor, steps: Sequence[TrainingStep]
) -> TrajectoryGradient:
    """MTT: L is differentiated through all steps, whose graphs are all in memory; the definition of the forms that hold less.

    Args:
        network: Lends its architecture only.
        trajectory: theta_0 and theta*.
        images: S `[M, C, H, W]`.
        labels: int64 `[M]`, or the logits of soft ones `[M, classes]`.
        step_size: Of the training on S, a scalar.
        steps: The mini-batches of that training, in order.
    """
    leaf, rate = images.detach().requires_grad_(), step_size.detach().requires_grad_()
    weights = tuple(value.detach().requires_grad_() for value in trajectory.start)
    told = labels.detach().requires_grad_(is_soft(labels))
    with torch.enable_grad():
        for step in steps:
            batch = augment.apply(leaf[step.rows], step.params)
            gradient = loss_gradient(network, weights, batch, told[step.rows], create_graph=True)
            weights = tuple(value - rate * g for value, g in zip(weights, gradient, strict=True))
        loss = trajectory.ratio(weights)
    learned = [leaf, rate, told] if is_soft(labels) else [leaf, rate]
    return TrajectoryGradient(loss.detach(), *torch.autograd.grad(loss, learned, materialize_grads=True))


def constant_memory_gradient(
    network: Network, trajectory: Trajectory, images: Tensor, labels: Tensor, step_size: Tensor, steps: Sequence[TrainingStep]
) -> TrajectoryGradient:
    """TESLA: as `unrolled_gradient`, with the same arguments, but a step's gradient g_i counts as a function of its own mini-batch alone.

    With beta the step size and G = sum_i g_i, theta_N = theta_0 - beta G, so dL/dg_i is the same vector for all steps,

        v = 2 beta (theta* - theta_0 + beta G) / |theta_0 - theta*|^2,

    and dL/dS collects d<v, g_i>/dS with v and theta_i constant (the two terms of Cui et al. 2023, equation 8; the
    reference program loses the factor 2). That theta_i depends on earlier mini-batches is dropped, which is exact for
    one step only. A first pass finds G; a second one repeats the steps and differentiates each alone, so memory does
    not grow with their number.
    """
    rate = step_size.detach()
    total = tuple(torch.zeros_like(value) for value in trajectory.start)
    weights = trajectory.start
    for step in steps:
        batch = augment.apply(images.detach()[step.rows], step.params)
        gradient = loss_gradient(network, leaves(weights), batch, labels[step.rows], create_graph=False)
        weights = descend(weights, rate, gradient)
        total = tuple(old.add_(g) for old, g in zip(total, gradient, strict=True))
    apart = tuple(s - rate * g - t for s, g, t in zip(trajectory.start, total, trajectory.target, strict=True))
    kept = trajectory.kept(apart)
    scale = squared_distance(trajectory.start, trajectory.target, kept)
    apart = apart if kept is None else tuple(value * k for value, k in zip(apart, kept, strict=True))
    v = tuple(-2.0 * rate * value / scale for value in apart)
    image_gradient, weights = torch.zeros_like(images), trajectory.start
    label_gradient = torch.zeros_like(labels) if is_soft(labels) else None
    for step in steps:
        points, told = images.detach()[step.rows].requires_grad_(), labels.detach()[step.rows].requires_grad_(is_soft(labels))
        with torch.enable_grad():
            batch = augment.apply(points, step.params)
            gradient = loss_gradient(network, leaves(weights), batch, told, create_graph=True)
            product = torch.stack([(a * g).sum() for a, g in zip(v, gradient, strict=True)]).sum()
        by_points, *by_told = torch.autograd.grad(product, [points] if label_gradient is None else [points, told])
        image_gradient[step.rows] += by_points
        if label_gradient is not None:
            label_gradient[step.rows] += by_told[0]
        weights = descend(weights, rate, gradient)
    loss = torch.stack([value.square().sum() for value in apart]).sum() / scale
    rate_gradient = -2.0 * torch.stack([(a * g).sum() for a, g in zip(apart, total, strict=True)]).sum() / scale
    return TrajectoryGradient(loss, image_gradient, rate_gradient, label_gradient)


def is_soft(labels: Tensor) -> bool:
    """Whether labels are the logits of soft ones, and not classes."""
    return labels.is_floating_point()


def targets(labels: Tensor) -> Tensor:
    """What the cross-entropy is taken from: classes `[b]` as they are, probabilities `[b, classes]` of the logits of soft labels."""
    return labels.softmax(-1) if is_soft(labels) else labels


def leaves(weights: Vectors) -> Vectors:
    """The same values as leaves that need gradients."""
    return tuple(value.detach().requires_grad_() for value in weights)


def descend(weights: Vectors, rate: Tensor, gradient: Vectors) -> Vectors:
    """The parameters after a step of SGD, detached."""
    return tuple(value - rate * g.detach() for value, g in zip(weights, gradient, strict=True))


def loss_gradient(network: Network, weights: Vectors, batch: Tensor, labels: Tensor, create_graph: bool) -> Vectors:
    """Gradient of the mean cross-entropy of a batch with respect to parameters.

    Args:
        network: whose parameters are replaced by the weights.
        weights: parameters in its order, which need gradients.
        batch: images `[n, C, H, W]` as they enter.
        labels: theirs, as in `Gradient`.
        create_graph: whether the gradient will be differentiated.
    """
    names = [name for name, _ in network.named_parameters()]
    with torch.enable_grad():
        loss = functional.cross_entropy(functional_call(network, dict(zip(names, weights, strict=True)), (batch,)), targets(labels))
        return torch.autograd.grad(loss, weights, create_graph=create_graph, materialize_grads=True)


class TrajectoryMatching(Matching):
    """Trajectory matching where a matching is asked for what only a mean of real samples can answer: all of it is refused."""

    def __init__(self, name: str) -> None:
        """`name` is that of the method."""
        self.name = name

    def check(self, network: Network, images: Tensor, labels: Tensor) -> None:
        """Raises ConfigError."""
        raise self._refusal()

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Raises ConfigError."""
        raise self._refusal()

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        """Raises ConfigError."""
        raise self._refusal()

    def _refusal(self) -> ConfigError:
        return ConfigError(
            f"method {self.name} meets real samples only through its experts, so a single one has no vector and no causal effect: "
            "set beta = 0 and prune statically"
        )
