"""Trajectory matching: both gradients against plain restatements, against each other, and what they hold in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.causal import ClassBatch, ite
from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.images import augment
from bilp.matching import matching_for
from bilp.matching.trajectory import TrainingStep, Trajectory, TrajectoryGradient, constant_memory_gradient, unrolled_gradient
from bilp.matching.trajectory_by_steps import exact_gradient
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SHAPE, CLASSES = (1, 6, 6), 3
FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")
Gradient = Callable[[Network, Trajectory, Tensor, Tensor, Tensor, list[TrainingStep]], TrajectoryGradient]
BOTH = pytest.mark.parametrize("gradient", [unrolled_gradient, constant_memory_gradient], ids=["mtt", "tesla"])


def network(name: str = "mlp", dtype: torch.dtype = torch.float64) -> Network:
    config = NetworkConfig(name="mlp") if name == "mlp" else NetworkConfig(width=4, depth=1, activation="swish")
    built = build(config, SHAPE, CLASSES)
    initialize(built, generator(61, name))
    return built.to(dtype)


def trajectory(net: Network) -> Trajectory:
    """From the network's own parameters to some not far away."""
    start = tuple(value.detach().clone() for value in net.parameters())
    stream = generator(61, "target")
    return Trajectory(start, tuple(v + 0.05 * torch.randn(v.shape, generator=stream, dtype=torch.float64).to(v) for v in start))


def images(ipc: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    drawn = torch.randn(ipc * CLASSES, *SHAPE, generator=generator(61, "images"), dtype=torch.float64)
    return drawn.to(dtype), torch.arange(CLASSES).repeat_interleave(ipc)


def training(count: int, steps: int, size: int) -> list[TrainingStep]:
    stream = generator(61, "steps", count, steps)
    rows = [torch.randperm(count, generator=stream)[:size] for _ in range(steps)]
    return [TrainingStep(r, augment.draw(FAMILIES, SHAPE[1:], stream, count=len(r))) for r in rows]


def restated_mlp(weights: list[Tensor], batch: Tensor) -> Tensor:
    x = batch.flatten(1)
    x = (x @ weights[0].T + weights[1]).relu()
    x = (x @ weights[2].T + weights[3]).relu()
    return x @ weights[4].T + weights[5]


def restated(piece: Trajectory, stored: Tensor, labels: Tensor, beta: Tensor, steps: list[TrainingStep], detach: bool) -> Tensor:
    """The loss of both methods on an MLP written out; `detach` cuts what leads from a step to the ones after it."""
    weights = [value.clone().requires_grad_() for value in piece.start]
    sums = [torch.zeros_like(value) for value in piece.start]
    for step in steps:
        at = [value.detach().requires_grad_() for value in weights] if detach else weights
        batch = augment.apply(stored[step.rows], step.params)
        loss = -restated_mlp(at, batch).log_softmax(1)[torch.arange(len(batch)), labels[step.rows]].mean()
        found = torch.autograd.grad(loss, at, create_graph=True)
        sums = [a + g for a, g in zip(sums, found, strict=True)]
        weights = [w - beta * g for w, g in zip(weights, found, strict=True)]
    ends = [s - beta * g for s, g in zip(piece.start, sums, strict=True)]
    flat_end, flat_start, flat_target = (torch.cat([v.flatten() for v in vs]) for vs in (ends, piece.start, piece.target))
    return (flat_end - flat_target).norm() ** 2 / (flat_start - flat_target).norm() ** 2


@BOTH
@pytest.mark.parametrize(("ipc", "steps", "size"), [(1, 1, 3), (1, 4, 3), (3, 3, 9), (3, 5, 4)])
def test_loss_and_gradients_equal_the_restatement(gradient: Gradient, ipc: int, steps: int, size: int) -> None:
    net, (stored, labels), plan = network(), images(ipc), training(ipc * CLASSES, steps, size)
    piece, beta = trajectory(net), torch.tensor(0.3, dtype=torch.float64)
    found = gradient(net, piece, stored, labels, beta, plan)
    leaf, rate = stored.clone().requires_grad_(), beta.clone().requires_grad_()
    loss = restated(piece, leaf, labels, rate, plan, detach=gradient is constant_memory_gradient)
    by_images, by_rate = torch.autograd.grad(loss, [leaf, rate])
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-10, atol=0.0)
    torch.testing.assert_close(found.images, by_images, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.step_size, by_rate, rtol=1e-8, atol=1e-12)
    assert found.images.abs().max() > 0
    assert not (found.loss.requires_grad or found.images.requires_grad or found.step_size.requires_grad)


@pytest.mark.parametrize("ipc", [1, 3])
def test_for_one_step_both_methods_are_the_same(ipc: int) -> None:
    net, (stored, labels), plan = network("convnet"), images(ipc), training(ipc * CLASSES, 1, ipc * CLASSES)
    given = (net, trajectory(net), stored, labels, torch.tensor(0.2, dtype=torch.float64), plan)
    one, other = unrolled_gradient(*given), constant_memory_gradient(*given)
    for a, b in zip((one.loss, one.images, one.step_size), (other.loss, other.images, other.step_size), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_for_more_steps_they_differ_by_what_tesla_drops() -> None:
    net, (stored, labels), plan = network("convnet"), images(2), training(6, 4, 6)
    given = (net, trajectory(net), stored, labels, torch.tensor(0.5, dtype=torch.float64), plan)
    one, other = unrolled_gradient(*given), constant_memory_gradient(*given)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-9, atol=0.0)
    assert (one.images - other.images).norm() > 1e-3 * one.images.norm()
    assert functional.cosine_similarity(one.images.flatten(), other.images.flatten(), dim=0) > 0.5


def test_gradient_by_finite_differences() -> None:
    net, (stored, labels), plan = network("convnet"), images(1), training(3, 3, 3)
    piece, beta = trajectory(net), torch.tensor(0.3, dtype=torch.float64)
    found = unrolled_gradient(net, piece, stored, labels, beta, plan)
    for k in range(4):
        direction = torch.randn(stored.shape, generator=generator(61, "direction", k), dtype=torch.float64)
        ahead, behind = (unrolled_gradient(net, piece, stored + s * direction, labels, beta, plan).loss for s in (1e-5, -1e-5))
        assert float((found.images * direction).sum()) == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-4, abs=1e-9)
    ahead, behind = (unrolled_gradient(net, piece, stored, labels, beta + s, plan).loss for s in (1e-5, -1e-5))
    assert float(found.step_size) == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-5)


class _Held:
    """A tensor that a graph keeps; `alive` and `peak` count the bytes of all of them."""

    alive = peak = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()
        _Held.alive += tensor.numel() * tensor.element_size()
        _Held.peak = max(_Held.peak, _Held.alive)

    def __del__(self) -> None:
        _Held.alive -= self.tensor.numel() * self.tensor.element_size()


def bytes_held(work: Callable[[], object]) -> int:
    """At most at a time, by graphs."""
    _Held.alive = _Held.peak = 0
    with torch.autograd.graph.saved_tensors_hooks(_Held, lambda held: held.tensor):
        work()
    assert _Held.peak > 0
    return _Held.peak


def peak_bytes(gradient: Gradient, steps: int) -> int:
    net, (stored, labels) = network("convnet"), images(2)
    given = (net, trajectory(net), stored, labels, torch.tensor(0.2, dtype=torch.float64), training(6, steps, 6))
    gradient(*given)
    return bytes_held(lambda: gradient(*given))


@pytest.mark.parametrize("gradient", [constant_memory_gradient, partial(exact_gradient, graph_bytes=0)], ids=["tesla", "mtt by steps"])
def test_graphs_do_not_grow_with_the_number_of_steps(gradient: Gradient) -> None:
    few, many = training(6, 2, 6), training(6, 10, 6)
    assert len(many) == 5 * len(few)
    assert peak_bytes(gradient, 10) <= 1.2 * peak_bytes(gradient, 2)
    assert peak_bytes(unrolled_gradient, 10) > 4 * peak_bytes(unrolled_gradient, 2)


OTHERS = ({"norm": "batch"}, {"norm": "group", "pooling": "max", "activation": "swish"}, {"name": "lenet"}, {"name": "mlp"})


@pytest.mark.parametrize("graphs", [2.5, *(pytest.param(count, marks=pytest.mark.slow) for count in (0.0, 100.0))])
@pytest.mark.parametrize("settings", [{}, *(pytest.param(other, marks=pytest.mark.slow) for other in OTHERS)], ids=str)
def test_backwards_by_steps_gives_the_bits_of_one_graph(settings: dict[str, object], graphs: float) -> None:
    """Images with which another order of the sums over parameters gives other bits."""
    config = NetworkConfig.model_validate({"width": 4, "depth": 2} | settings)
    net = build(config, (1, 16, 16), CLASSES)
    initialize(net, generator(61, config.name))
    stored = torch.randn(6, 1, 16, 16, generator=generator(2, "larger"))
    given = (net, trajectory(net), stored, torch.arange(CLASSES).repeat(2), torch.tensor(0.1), training(6, 5, 4))
    of_one = bytes_held(lambda: unrolled_gradient(*given[:-1], given[-1][:1]))
    expected, found = unrolled_gradient(*given), exact_gradient(*given, graph_bytes=int(graphs * of_one))
    assert torch.equal(found.loss, expected.loss)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.step_size, expected.step_size)
    assert found.images.abs().max() > 0


@BOTH
@pytest.mark.parametrize(
    "settings",
    [{"norm": "batch"}, {"norm": "group", "pooling": "max"}, {"name": "lenet"}, pytest.param({"name": "alexnet"}, marks=pytest.mark.slow)],
)
def test_other_networks(gradient: Gradient, settings: dict[str, object]) -> None:
    """Batch norm included: it works on mini-batches here as it did for the experts, and its running means play no part."""
    config = NetworkConfig.model_validate({"width": 4, "depth": 1} | settings)
    net = build(config, (1, 16, 16), CLASSES)
    initialize(net, generator(61, config.name))
    stored = torch.randn(6, 1, 16, 16, generator=generator(61, "larger"))
    given = (trajectory(net), stored, torch.arange(CLASSES).repeat(2), torch.tensor(0.1), training(6, 3, 4))
    one, other = gradient(net, *given), gradient(net, *given)
    assert torch.equal(one.images, other.images)
    assert one.images.isfinite().all()
    assert one.images.abs().max() > 0


@BOTH
def test_nothing_is_left_behind(gradient: Gradient) -> None:
    net, (stored, labels) = network("convnet", torch.float32), images(1, torch.float32)
    before = [value.detach().clone() for value in net.parameters()]
    piece = trajectory(net)
    with torch.no_grad():
        gradient(net, piece, stored, labels, torch.tensor(0.1), training(3, 2, 3))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, piece.start, strict=True))
    assert all(value.grad is None for value in net.parameters())
    assert stored.grad is None


@pytest.mark.parametrize("method", ["mtt", "tesla"])
def test_there_is_no_causal_effect_of_a_sample(method: str) -> None:
    net, (stored, labels) = network("convnet"), images(2)
    with pytest.raises(ConfigError, match="only through its experts"):
        ite(matching_for(method), net, ClassBatch((stored[:2], labels[:2]), (stored[:1], labels[:1])))  # type: ignore[arg-type]
