"""Trajectory matching with soft labels, and of a part of the parameters: every form against a plain restatement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from test_trajectory import CLASSES, images, network, restated_mlp, training, trajectory
from torch import Tensor

from bilp.config import NetworkConfig
from bilp.images import augment
from bilp.matching.trajectory import (
    TrainingStep,
    Trajectory,
    TrajectoryGradient,
    constant_memory_gradient,
    counting,
    unrolled_gradient,
)
from bilp.matching.trajectory_by_steps import exact_gradient
from bilp.matching.trajectory_flat import FlatGradient, compare_exactly, compare_in_constant_memory
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

Form = Callable[..., TrajectoryGradient]
FORMS: dict[str, tuple[Form, bool]] = {
    "unrolled": (unrolled_gradient, False),
    "by steps": (partial(exact_gradient, graph_bytes=0), False),
    "flat": (lambda net, *given: FlatGradient(net, compare_exactly)(*given), False),
    "constant": (constant_memory_gradient, True),
    "flat constant": (lambda net, *given: FlatGradient(net, compare_in_constant_memory)(*given), True),
}
PARTS: dict[str, tuple[int, float]] = {"all": (0, 0.0), "deep": (2, 0.0), "far": (0, 0.3), "deep and far": (2, 0.3)}


def soft(count: int) -> Tensor:
    """Logits of soft labels."""
    return 2.0 * torch.randn(count, CLASSES, generator=generator(61, "labels"), dtype=torch.float64)


def restated(
    piece: Trajectory, stored: Tensor, logits: Tensor, beta: Tensor, steps: list[TrainingStep], detach: bool, part: tuple[int, float]
) -> Tensor:
    """The loss on an MLP written out; `detach` cuts what leads from a step to the ones after it; `part` says what counts."""
    weights = [value.clone().requires_grad_() for value in piece.start]
    sums = [torch.zeros_like(value) for value in piece.start]
    for step in steps:
        at = [value.detach().requires_grad_() for value in weights] if detach else weights
        said = restated_mlp(at, augment.apply(stored[step.rows], step.params)).log_softmax(1)
        loss = -(logits[step.rows].softmax(1) * said).sum() / len(step.rows)
        found = torch.autograd.grad(loss, at, create_graph=True)
        sums = [a + g for a, g in zip(sums, found, strict=True)]
        weights = [w - beta * g for w, g in zip(weights, found, strict=True)]
    first, nearest = part
    ends = [s - beta * g for s, g in zip(piece.start, sums, strict=True)]
    end, start, target = (torch.cat([v.flatten() for v in list(vs)[first:]]) for vs in (ends, piece.start, piece.target))
    far = sorted(range(len(end)), key=lambda k: float((end - target)[k].detach().abs()))[int(nearest * len(end)) :]
    return (end - target)[far].square().sum() / (start - target)[far].square().sum()


@pytest.mark.parametrize("part", [pytest.param(name, marks=() if name == "deep and far" else pytest.mark.slow) for name in PARTS])
@pytest.mark.parametrize("form", FORMS)
def test_loss_and_gradients_equal_the_restatement(form: str, part: str) -> None:
    gradient, detach = FORMS[form]
    net, (stored, _), plan, logits = network(), images(2), training(2 * CLASSES, 3, 4), soft(2 * CLASSES)
    first, nearest = PARTS[part]
    piece, beta = replace(trajectory(net), first=first, nearest=nearest), torch.tensor(0.3, dtype=torch.float64)
    found = gradient(net, piece, stored, logits, beta, plan)
    leaf, told, rate = (value.clone().requires_grad_() for value in (stored, logits, beta))
    loss = restated(piece, leaf, told, rate, plan, detach, PARTS[part])
    by_images, by_labels, by_rate = torch.autograd.grad(loss, [leaf, told, rate])
    assert found.labels is not None
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-10, atol=0.0)
    torch.testing.assert_close(found.images, by_images, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.labels, by_labels, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.step_size, by_rate, rtol=1e-8, atol=1e-12)
    assert found.labels.abs().max() > 1e-6
    assert not any(value.requires_grad for value in (found.loss, found.images, found.labels, found.step_size))


def test_nearly_hard_labels_are_the_classes() -> None:
    net, (stored, classes), plan = network("convnet"), images(2), training(6, 3, 6)
    logits = 60.0 * torch.nn.functional.one_hot(classes, CLASSES).double()
    given = (net, trajectory(net), stored)
    beta = torch.tensor(0.2, dtype=torch.float64)
    one, other = unrolled_gradient(*given, classes, beta, plan), unrolled_gradient(*given, logits, beta, plan)
    torch.testing.assert_close(other.loss, one.loss, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(other.images, one.images, rtol=1e-9, atol=1e-12)
    assert one.labels is None


def test_what_counts() -> None:
    apart = torch.tensor([0.0, 3.0, -1.0, 2.0, 0.5, -4.0])
    assert counting(apart, 0, 0.0) is None
    for skipped, nearest, expected in ((2, 0.0, [0, 0, 1, 1, 1, 1]), (0, 0.5, [0, 1, 0, 1, 0, 1]), (1, 0.45, [0, 1, 0, 1, 0, 1])):
        kept = counting(apart, skipped, nearest)
        assert kept is not None
        assert kept.tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"norm": "batch"}, {"name": "lenet"}], ids=str)
def test_backwards_by_steps_gives_the_bits_of_one_graph(settings: dict[str, object]) -> None:
    config = NetworkConfig.model_validate({"width": 4, "depth": 2} | settings)
    net: Network = build(config, (1, 16, 16), CLASSES)
    initialize(net, generator(61, config.name))
    stored = torch.randn(6, 1, 16, 16, generator=generator(2, "larger"))
    piece = replace(trajectory(net), first=2, nearest=0.2)
    given = (net, piece, stored, soft(6).float(), torch.tensor(0.1), training(6, 5, 4))
    expected, found = unrolled_gradient(*given), exact_gradient(*given, graph_bytes=0)
    assert expected.labels is not None
    assert found.labels is not None
    assert torch.equal(found.loss, expected.loss)
    assert torch.equal(found.images, expected.images)
    torch.testing.assert_close(found.labels, expected.labels, rtol=1e-5, atol=1e-9)
    assert torch.equal(found.step_size, expected.step_size)
