"""MTT's exact gradient one step at a time: the bits of `unrolled_gradient`, with as many graphs in memory as fit.

With L = |theta_N - theta*|^2 / |theta_0 - theta*|^2 and theta_{i+1} = theta_i - beta g_i, the adjoint a_i = dL/dtheta_i follows
backwards from a_N: that of theta_{i+1} is taken through step i, which leaves dL/dtheta_i, dL/d(its mini-batch) and dL/dbeta.
Nothing but theta_i is needed for that, so a step whose graph was not kept is done again. The graph of one step and
the order in which autograd adds are those of the graph through all steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from bilp.images import augment
from bilp.matching.jacobian import Vectors
from bilp.matching.trajectory import TrainingStep, Trajectory, TrajectoryGradient, is_soft, leaves, loss_gradient
from bilp.nets import Network

GRAPH_BYTES = 12 * 2**30
"""What the graphs of steps may hold together: all of the papers' for CIFAR-10 at ipc 1 and 10, a quarter at ipc 50. A step that is done
twice costs a third more. Results do not depend on it."""


@dataclass(frozen=True)
class _Graph:
    """One step with its graph."""

    weights: Vectors
    """theta_i, leaves."""
    points: Tensor
    """The mini-batch as it is stored, a leaf."""
    told: Tensor
    """Its labels; the logits of soft ones are a leaf."""
    rates: Vectors
    """beta once for every parameter, leaves, so that its derivatives can be added in the order of one graph."""
    after: Vectors
    """theta_{i+1}."""


def exact_gradient(
    network: Network,
    trajectory: Trajectory,
    images: Tensor,
    labels: Tensor,
    step_size: Tensor,
    steps: Sequence[TrainingStep],
    graph_bytes: int = GRAPH_BYTES,
) -> TrajectoryGradient:
    """As `unrolled_gradient`, bit for bit on a CPU; the last steps keep their graphs, those before are done twice.

    Args:
        network: Lends its architecture only.
        trajectory: theta_0 and theta*.
        images: S `[M, C, H, W]`.
        labels: int64 `[M]`, or the logits of soft ones `[M, classes]`.
        step_size: Of the training on S, a scalar.
        steps: The mini-batches of that training, in order.
        graph_bytes: What the kept graphs may hold, measured at the first step.
    """

    held, stored, weights, first_kept = Held(), list[Vectors | _Graph](), trajectory.start, 0
    for number, step in enumerate(steps):
        # A gradient that is differentiated again is computed in other operations, so steps whose graph is dropped have one, too.
        with held.counting() if number == 0 else nullcontext():
            graph = _graph(network, weights, images, labels, step_size, step)
        if number == 0:
            first_kept = max(0, len(steps) - max(1, graph_bytes // held.bytes))
        stored.append(graph if number >= first_kept else weights)
        weights = _detached(graph.after)
        del graph
    loss, adjoint = _loss(weights, trajectory)
    image_gradient, rate_gradient = torch.zeros_like(images), torch.zeros_like(step_size)
    label_gradient = torch.zeros_like(labels) if is_soft(labels) else None
    for step in reversed(steps):
        last = stored.pop()
        graph = last if isinstance(last, _Graph) else _graph(network, last, images, labels, step_size, step)
        adjoint, of_points, of_told, of_rates = _pulled(graph, adjoint)
        del last, graph
        image_gradient[step.rows] += of_points
        if label_gradient is not None:
            label_gradient[step.rows] += of_told
        for value in reversed(of_rates):
            rate_gradient = rate_gradient + value
    return TrajectoryGradient(loss, image_gradient, rate_gradient, label_gradient)


def _graph(network: Network, weights: Vectors, images: Tensor, labels: Tensor, step_size: Tensor, step: TrainingStep) -> _Graph:
    """A step from `weights` with its graph; the other arguments are those of `exact_gradient`.

    Args:
        network: its architecture.
        weights: theta_i.
        images: S.
        labels: theirs.
        step_size: beta.
        step: what is trained on.
    """
    start, points = leaves(weights), images.detach()[step.rows].requires_grad_()
    told = labels.detach()[step.rows].requires_grad_(is_soft(labels))
    rates = tuple(step_size.detach().requires_grad_() for _ in start)
    with torch.enable_grad():
        batch = augment.apply(points, step.params)
        gradient = loss_gradient(network, start, batch, told, create_graph=True)
        after = tuple(value - rate * g for value, rate, g in zip(start, rates, gradient, strict=True))
    return _Graph(start, points, told, rates, after)


def _loss(weights: Vectors, trajectory: Trajectory) -> tuple[Tensor, Vectors]:
    """L, and its derivative with respect to theta_N, through the operations of the graph through all steps."""
    ends = leaves(weights)
    with torch.enable_grad():
        loss = trajectory.ratio(ends)
        return loss.detach(), torch.autograd.grad(loss, ends, materialize_grads=True)


def _pulled(graph: _Graph, adjoint: Vectors) -> tuple[Vectors, Tensor, Tensor, Vectors]:
    """dL/dtheta_{i+1} taken through a step: dL/dtheta_i, dL/d(stored mini-batch), dL/d(logits of its soft labels), which is empty for
    labels that are classes, and dL/dbeta parameter by parameter."""
    count, told = len(graph.weights), (graph.told,) if is_soft(graph.told) else ()
    inputs = (*graph.weights, graph.points, *told, *graph.rates)
    found = torch.autograd.grad(graph.after, inputs, adjoint, materialize_grads=True)
    of_told = found[count + 1] if told else graph.points.new_empty(0)
    return found[:count], found[count], of_told, found[count + 1 + len(told) :]


def _detached(values: Vectors) -> Vectors:
    return tuple(value.detach() for value in values)


@dataclass
class Held:
    """Bytes of what graphs keep for their backward pass; what several operations keep counts once."""

    places: dict[int, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Of all tensors that were kept."""
        return sum(self.places.values())

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Inside, what graphs keep is counted."""

        def keep(value: Tensor) -> Tensor:
            storage = value.untyped_storage()
            self.places[storage.data_ptr()] = storage.nbytes()
            return value.detach()  # the tensor itself would hold the node that holds it

        with saved_tensors_hooks(keep, lambda value: value):
            yield
