"""Both gradients on one vector of parameters against those that follow from the definition by autograd."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from test_trajectory import CLASSES, Gradient, bytes_held, images, network, training, trajectory
from torch import Tensor

from bilp.config import NetworkConfig
from bilp.matching.trajectory import constant_memory_gradient, unrolled_gradient
from bilp.matching.trajectory_batches import StepBatches
from bilp.matching.trajectory_flat import (
    GRAPH_BYTES,
    Compare,
    Compared,
    Comparison,
    FlatGradient,
    FlatTraining,
    compare_exactly,
    compare_in_constant_memory,
)
from bilp.nets import build, initialize
from bilp.seeds import generator

BOTH = pytest.mark.parametrize(
    ("compare", "definition"),
    [(compare_exactly, unrolled_gradient), (compare_in_constant_memory, constant_memory_gradient)],
    ids=["mtt", "tesla"],
)
OTHERS = (
    {"norm": "batch"},
    {"norm": "layer"},
    {"norm": "group", "pooling": "max"},
    {"name": "lenet"},
    {"name": "mlp"},
    {"name": "resnet10"},
)


@BOTH
@pytest.mark.parametrize("graphs", [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (0, 5))])
@pytest.mark.parametrize("settings", [{}, *(pytest.param(other, marks=pytest.mark.slow) for other in OTHERS)], ids=str)
def test_loss_and_gradients_are_those_of_the_definition(
    compare: Compare, definition: Gradient, settings: dict[str, object], graphs: int
) -> None:
    config = NetworkConfig.model_validate({"width": 4, "depth": 2, "activation": "swish"} | settings)
    net = build(config, (1, 16, 16), CLASSES)
    initialize(net, generator(61, config.name))
    net.double()
    stored = torch.randn(6, 1, 16, 16, generator=generator(61, "larger"), dtype=torch.float64)
    given = (trajectory(net), stored, torch.arange(CLASSES).repeat(2), torch.tensor(0.1, dtype=torch.float64), training(6, 5, 4))
    found = FlatGradient(net, lambda training, piece, sizes, kept: compare(training, piece, sizes, graphs))(*given)
    expected = definition(net, *given)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-11, atol=0.0)
    torch.testing.assert_close(found.step_size, expected.step_size, rtol=1e-9, atol=0.0)
    assert float((found.images - expected.images).norm() / expected.images.norm()) < 1e-9
    assert not (found.loss.requires_grad or found.images.requires_grad or found.step_size.requires_grad)


def test_passes_of_augmentation_do_not_change_anything() -> None:
    (stored, labels), steps = images(3), [*training(9, 4, 6), *training(9, 1, 3)]
    weights = torch.randn(27, *stored.shape[1:], generator=generator(61, "weights"), dtype=torch.float64)

    def through(pass_bytes: int) -> tuple[Tensor, Tensor, Tensor]:
        batches = StepBatches(stored, steps, pass_bytes)
        assert batches.sizes == [6, 6, 6, 6, 3]
        return batches.entering(), batches.labels(labels), batches.pulled(weights)

    at_once = through(2**30)
    for few in (1, 2 * 6 * stored[0].numel() * 8):
        for expected, found in zip(at_once, through(few), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(at_once[1], labels[torch.cat([step.rows for step in steps])])


@BOTH
def test_as_many_graphs_are_kept_as_fit(compare: Compare, definition: Gradient) -> None:
    net, (stored, labels) = network("convnet"), images(2)
    asked = []

    def note(training: FlatTraining, given: Comparison, sizes: Sequence[int], kept: int) -> Compared:
        asked.append(kept)
        return compare(training, given, sizes, kept)

    given = (trajectory(net), stored, labels, torch.tensor(0.2, dtype=torch.float64), training(6, 4, 6))
    FlatGradient(net, note)(*given)
    assert asked[0] > 4, "small graphs are all kept"
    one = GRAPH_BYTES // asked[0]
    FlatGradient(net, note, 5 * one // 2)(*given)
    assert asked[1] == 2
    few = bytes_held(lambda: FlatGradient(net, compare, one // 2)(*given))
    many = bytes_held(lambda: FlatGradient(net, compare, 9 * one // 2)(*given))
    assert many > 3 * few


def test_nothing_is_left_behind() -> None:
    net, (stored, labels) = network("convnet", torch.float32), images(1, torch.float32)
    before = [value.detach().clone() for value in net.parameters()]
    piece = trajectory(net)
    with torch.no_grad():
        FlatGradient(net, compare_exactly)(piece, stored, labels, torch.tensor(0.1), training(3, 2, 3))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, piece.start, strict=True))
    assert all(value.grad is None for value in net.parameters())
    assert stored.grad is None
    assert not stored.requires_grad
