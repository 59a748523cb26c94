"""A training with momentum and the derivative of its end, against one graph of all steps in float64."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from bilp.config import NetworkConfig
from bilp.images import augment
from bilp.matching import Vectors
from bilp.matching.query import QueryMatching, losses_along, weighted_loss
from bilp.matching.trajectory import TrainingStep
from bilp.matching.unrolled import HELD_BYTES, Momentum, UnrolledTraining
from bilp.nets import Network, build, initialize

SGD = Momentum(rate=0.1, momentum=0.9)


@dataclass(frozen=True)
class World:
    """A network, a synthetic set of three classes, mini-batches, and real samples."""

    network: Network
    images: Tensor
    labels: Tensor
    steps: list[TrainingStep]
    real: tuple[Tensor, Tensor]

    def trained(self, held_bytes: int = HELD_BYTES) -> UnrolledTraining:
        """From the same parameters whenever it is asked for."""
        initialize(self.network, torch.Generator().manual_seed(1))
        return UnrolledTraining(self.network, self.images, self.labels, self.steps, SGD, held_bytes)

    def loss(self, images: Tensor) -> Tensor:
        """The mean loss on the real samples at the end, as one graph."""
        initialize(self.network, torch.Generator().manual_seed(1))
        names = [name for name, _ in self.network.named_parameters()]
        weights = [parameter.detach().clone().requires_grad_() for parameter in self.network.parameters()]
        velocity = [torch.zeros_like(value) for value in weights]
        for step in self.steps:
            shown = augment.apply(images[step.rows], step.params)
            logits = functional_call(self.network, dict(zip(names, weights, strict=True)), (shown,))
            gradient = torch.autograd.grad(functional.cross_entropy(logits, self.labels[step.rows]), weights, create_graph=True)
            velocity = [0.9 * v + part for v, part in zip(velocity, gradient, strict=True)]
            weights = [value - 0.1 * v for value, v in zip(weights, velocity, strict=True)]
        return functional.cross_entropy(functional_call(self.network, dict(zip(names, weights, strict=True)), self.real[:1]), self.real[1])


@pytest.fixture(params=["plain", "augmented"])
def world(request: pytest.FixtureRequest) -> World:
    stream = torch.Generator().manual_seed(0)
    network = build(NetworkConfig(width=4, depth=1), (1, 8, 8), 3).double()
    images, real = (torch.randn(count, 1, 8, 8, generator=stream, dtype=torch.float64) for count in (6, 5))
    params = augment.draw(["rotate"], (8, 8), stream) if request.param == "augmented" else None
    steps = [TrainingStep(torch.randperm(6, generator=stream)[:4], params) for _ in range(7)]
    return World(network, images, torch.arange(3).repeat_interleave(2), steps, (real, torch.tensor([0, 1, 2, 0, 1])))


def product(first: Vectors, second: Vectors) -> float:
    return float(torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum())


def test_both_ways_are_those_of_one_graph(world: World) -> None:
    leaf = world.images.clone().requires_grad_()
    loss = world.loss(leaf)
    (wanted,) = torch.autograd.grad(loss, leaf)
    training = world.trained()
    found, adjoint = weighted_loss(world.network, *world.real, torch.full((5,), 0.2, dtype=torch.float64))
    torch.testing.assert_close(found, loss.detach(), rtol=1e-12, atol=0.0)
    back = training.pull([adjoint, tuple(2.0 * block for block in adjoint)])
    torch.testing.assert_close(back, [wanted, 2.0 * wanted], rtol=1e-10, atol=1e-14)
    directions = list(torch.randn(2, *world.images.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    for direction, moved in zip(directions, training.push(directions), strict=True):
        assert product(moved, adjoint) == pytest.approx(float((wanted * direction).sum()), rel=1e-9)


def test_parameters_that_are_computed_again_give_the_same_bytes(world: World) -> None:
    found = []
    for held_bytes in (HELD_BYTES, 0):
        training = world.trained(held_bytes)
        _, adjoint = weighted_loss(world.network, *world.real, torch.full((5,), 0.2, dtype=torch.float64))
        found.append((*training.pull([adjoint]), *training.push([world.images])[0], *training.weights))
    assert len(training._held) == 3  # of seven steps
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_losses_along_a_direction_need_no_gradient_of_a_sample(world: World) -> None:
    training = world.trained()
    each = tuple(block.detach() for block in QueryMatching("linba").vector(world.network, *world.real))
    (found,) = losses_along(world.network, *world.real, [training.weights])
    wanted = [product(tuple(block[i] for block in each), training.weights) for i in range(5)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-10)
    shares = torch.tensor([0.1, 0.2, 0.3, 0.0, 0.4], dtype=torch.float64)
    _, gradient = weighted_loss(world.network, *world.real, shares)
    for block, own in zip(gradient, each, strict=True):
        torch.testing.assert_close(block, torch.tensordot(shares, own, dims=1))


def test_directions_that_share_a_gradient_give_the_bytes_of_each_alone(world: World) -> None:
    training = world.trained()
    directions = training.push(list(torch.randn(3, *world.images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)))
    alone = torch.cat([losses_along(world.network, *world.real, [direction]) for direction in directions])
    assert alone.shape == (3, 5)
    assert len(alone.unique(dim=0)) == 3
    assert torch.equal(losses_along(world.network, *world.real, directions), alone)
