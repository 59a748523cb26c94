"""A training on the synthetic images by SGD with momentum, and the derivative of where it leads (Deng & Russakovsky 2022, section 3.3).

With g_t the gradient of the loss of step t's mini-batch at theta_t,

    v_{t+1} = m v_t + g_t,    theta_{t+1} = theta_t - r v_{t+1}.

`pull` takes a vector a at theta_T back: with b = 0 at first, b <- b - r a, then dL/dS gains (dg_t/dS)^T b, a gains (dg_t/dtheta)^T b,
and b <- m b, from the last step to the first. `push` goes the other way along a direction of S. Only theta_t is needed
for either, so that no graph outlives its step. Where the parameters of all steps would be too much to hold, those of some are, and the
ones between are computed again: memory grows with the root of the number of steps. The bytes of the result are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from bilp.images import augment
from bilp.matching.jacobian import Vectors
from bilp.matching.trajectory import TrainingStep, leaves, loss_gradient
from bilp.nets import Network

HELD_BYTES = 2**30
"""What the parameters of steps may take that are held for the way back."""


@dataclass(frozen=True)
class Momentum:
    """SGD of the training."""

    rate: float
    """r."""
    momentum: float
    """m."""


@dataclass(frozen=True)
class _At:
    """Where the training is before a step; both detached."""

    weights: Vectors
    velocity: Vectors


class UnrolledTraining:
    """One training, done when it is made."""

    def __init__(
        self,
        network: Network,
        images: Tensor,
        labels: Tensor,
        steps: Sequence[TrainingStep],
        sgd: Momentum,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        """Train from the parameters that `network` has, which get those after the last step.

        Args:
            network: its samples must not influence each other.
            images: S `[M, C, H, W]`.
            labels: int64 `[M]`.
            steps: the mini-batches, in order.
            sgd: what moves the parameters.
            held_bytes: what the parameters that are held may take.
        """
        self._network, self._images, self._labels, self._steps, self._sgd = network, images.detach(), labels, steps, sgd
        start = tuple(parameter.detach().clone() for parameter in network.parameters())
        each = 2 * sum(value.nbytes for value in start)
        self._stride = 1 if len(steps) * each <= held_bytes else math.isqrt(len(steps) - 1) + 1
        self._between: tuple[int, list[Vectors]] | None = None  # theta_t between two that are held, computed again
        at, self._held = _At(start, tuple(torch.zeros_like(value) for value in start)), list[_At]()
        for number in range(len(steps)):
            if number % self._stride == 0:
                self._held.append(at)
            at = self._after(at, number)
        self.weights = at.weights
        """theta_T, in the order of the network's parameters."""
        with torch.no_grad():
            for parameter, value in zip(network.parameters(), self.weights, strict=True):
                parameter.copy_(value)

    def pull(self, adjoints: Sequence[Vectors]) -> list[Tensor]:
        """(dtheta_T/dS)^T a for each of some vectors a at theta_T: gradients `[M, C, H, W]`, which share all forward passes."""
        rate, decay = self._sgd.rate, self._sgd.momentum
        of_images = [torch.zeros_like(self._images) for _ in adjoints]
        of_weights, of_velocity = [list(a) for a in adjoints], [[torch.zeros_like(value) for value in a] for a in adjoints]
        for number in reversed(range(len(self._steps))):
            weights, points, gradient = self._graph(number)
            for k in range(len(adjoints)):
                of_velocity[k] = [b - rate * a for a, b in zip(of_weights[k], of_velocity[k], strict=True)]
                found = torch.autograd.grad(
                    gradient, (*weights, points), of_velocity[k], retain_graph=k + 1 < len(adjoints), materialize_grads=True
                )
                of_weights[k] = [a + own for a, own in zip(of_weights[k], found[:-1], strict=True)]
                of_images[k][self._steps[number].rows] += found[-1]
                of_velocity[k] = [decay * b for b in of_velocity[k]]
        return of_images

    def push(self, directions: Sequence[Tensor]) -> list[Vectors]:
        """(dtheta_T/dS) u for each of some directions u of the images `[M, C, H, W]`, which share all forward passes.

        What g_t changes by is the derivative, by theta, of <dCE/dtheta, dtheta> + <dCE/dS, u>: second derivatives are symmetric.
        """
        rate, decay = self._sgd.rate, self._sgd.momentum
        moved = [tuple(torch.zeros_like(value) for value in self.weights) for _ in directions]
        velocity = list(moved)
        for number, step in enumerate(self._steps):
            weights, points = self._leaves(number)
            with torch.enable_grad():
                loss = self._loss(weights, points, number)
                first = torch.autograd.grad(loss, (*weights, points), create_graph=True, materialize_grads=True)
            for k, direction in enumerate(directions):
                along = (*moved[k], direction[step.rows])
                found = torch.autograd.grad(first, weights, along, retain_graph=k + 1 < len(directions), materialize_grads=True)
                velocity[k] = tuple(decay * v + own for v, own in zip(velocity[k], found, strict=True))
                moved[k] = tuple(value - rate * v for value, v in zip(moved[k], velocity[k], strict=True))
        return moved

    def _after(self, at: _At, number: int) -> _At:
        rate, decay, step = self._sgd.rate, self._sgd.momentum, self._steps[number]
        batch = augment.apply(self._images[step.rows], step.params)
        gradient = loss_gradient(self._network, leaves(at.weights), batch, self._labels[step.rows], create_graph=False)
        velocity = tuple(decay * v + g for v, g in zip(at.velocity, gradient, strict=True))
        return _At(tuple(value - rate * v for value, v in zip(at.weights, velocity, strict=True)), velocity)

    def _weights(self, number: int) -> Vectors:
        """theta_t, held or computed again with the others between two that are."""
        first = number - number % self._stride
        if self._between is None or self._between[0] != first:
            reached = [self._held[first // self._stride]]
            while len(reached) < self._stride and first + len(reached) < len(self._steps):
                reached.append(self._after(reached[-1], first + len(reached) - 1))
            self._between = (first, [at.weights for at in reached])
        return self._between[1][number - first]

    def _leaves(self, number: int) -> tuple[Vectors, Tensor]:
        return leaves(self._weights(number)), self._images[self._steps[number].rows].requires_grad_()

    def _graph(self, number: int) -> tuple[Vectors, Tensor, Vectors]:
        """theta_t and the mini-batch as it is stored, leaves, and the gradient of its loss, differentiable."""
        weights, points = self._leaves(number)
        step = self._steps[number]
        with torch.enable_grad():
            batch = augment.apply(points, step.params)
        return weights, points, loss_gradient(self._network, weights, batch, self._labels[step.rows], create_graph=True)

    def _loss(self, weights: Vectors, points: Tensor, number: int) -> Tensor:
        """Mean cross-entropy of a mini-batch, differentiable by all that it depends on."""
        step, names = self._steps[number], [name for name, _ in self._network.named_parameters()]
        logits = functional_call(self._network, dict(zip(names, weights, strict=True)), (augment.apply(points, step.params),))
        return functional.cross_entropy(logits, self._labels[step.rows])
