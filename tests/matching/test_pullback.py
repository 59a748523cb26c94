"""Products with the transposed Jacobian: the tiled graphs against PyTorch's batched differentiation."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from test_per_sample import FAST, GENERIC, SIDE, batch
from torch import Tensor, nn

from bilp.config import NetworkConfig
from bilp.matching import FeatureMatching, GradientMatching, KernelMatching, Matching
from bilp.matching.alignment import AlignmentMatching
from bilp.matching.jacobian import GenericPullback, lanes_for
from bilp.matching.pullback import GradientPullback
from bilp.nets import build, initialize
from bilp.seeds import generator

BUDGET = 2**26


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def assert_equal_pullbacks(matching: Matching, network: nn.Module, images: Tensor, labels: Tensor, count: int) -> None:
    pull = matching.pullback(network, images, labels, count, BUDGET)
    leaf = images.clone().requires_grad_()
    psi = matching.synthetic(network, leaf, labels)
    stream = generator(41, "cotangents")
    cotangents = tuple(torch.randn(count, *block.shape, generator=stream) for block in psi)
    wanted = GenericPullback(tuple(block[None] for block in psi), leaf, count)(tuple(c[:, None] for c in cotangents))
    found = torch.cat([pull(tuple(c[i : i + pull.lanes, None] for c in cotangents)) for i in range(0, count, pull.lanes)])
    assert found.shape == (count, 1, *images.shape)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("make", FAST.values(), ids=FAST.keys())
def test_gradients_of_every_layer(make: Callable[[], nn.Module]) -> None:
    network = make()
    images, labels = batch(2)
    matching = GradientMatching("dc")
    assert isinstance(matching.pullback(network, images, labels, 3, BUDGET), GradientPullback)
    assert_equal_pullbacks(matching, network, images, labels, 3)


@pytest.mark.parametrize("make", GENERIC.values(), ids=GENERIC.keys())
def test_gradients_of_other_layers_take_the_generic_path(make: Callable[[], nn.Module]) -> None:
    network = make()
    images, labels = batch(2)
    matching = GradientMatching("dc")
    assert isinstance(matching.pullback(network, images, labels, 3, BUDGET), GenericPullback)
    assert_equal_pullbacks(matching, network, images, labels, 3)


def assert_classes_are_apart(matching: Matching, network: nn.Module, images: Tensor, labels: Tensor, classes: int) -> None:
    """A cotangent of every class in one product, against products of each class alone; and psi likewise."""
    by_class = list(zip(images.chunk(classes), labels.chunk(classes), strict=True))
    psi = [matching.real_mean(network, *own) for own in by_class]
    for block, *apart in zip(matching.synthetic_by_class(network, images, labels, classes), *psi, strict=True):
        torch.testing.assert_close(block, torch.stack(apart), rtol=1e-4, atol=1e-5 * float(block.abs().max()))
    pull = matching.pullback(network, images, labels, 3, BUDGET, classes)
    assert pull.lanes == 3
    assert pull.lane_bytes > 0
    stream = generator(45, "cotangents")
    cotangents = tuple(torch.randn(3, classes, *block.shape, generator=stream, dtype=block.dtype) for block in psi[0])
    found = pull(cotangents)
    assert found.shape == (3, classes, len(images) // classes, *images.shape[1:])
    for c, own in enumerate(by_class):
        (wanted,) = matching.pullback(network, *own, 3, BUDGET)(tuple(block[:, c : c + 1] for block in cotangents)).unbind(1)
        torch.testing.assert_close(found[:, c], wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("make", [*FAST.values(), *GENERIC.values()], ids=[*FAST.keys(), *GENERIC.keys()])
@pytest.mark.parametrize(("classes", "each"), [(2, 2), (3, 1)])
def test_classes_of_every_layer(make: Callable[[], nn.Module], classes: int, each: int) -> None:
    assert_classes_are_apart(GradientMatching("dc"), make(), *batch(classes * each), classes)


@pytest.mark.parametrize("matching", [FeatureMatching(), KernelMatching("idc", "mse"), AlignmentMatching()], ids=["dm", "idc", "cafe"])
def test_classes_of_every_matching(matching: Matching) -> None:
    network = build(NetworkConfig(width=8, depth=2), (3, SIDE, SIDE), 4)
    initialize(network, generator(46, "classes"))
    assert_classes_are_apart(matching, network, *batch(4), 2)


@pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])
@pytest.mark.parametrize(("count", "images"), [(1, 1), (19, 1), (7, 3), (3, 17)])
def test_lanes_and_their_remainder(matching: Matching, count: int, images: int) -> None:
    network = build(NetworkConfig(width=8, depth=2), (3, SIDE, SIDE), 4)
    initialize(network, generator(42, "lanes"))
    points, labels = batch(images)
    pull = matching.pullback(network, points, labels, count, BUDGET)
    assert 1 <= pull.lanes <= count
    assert_equal_pullbacks(matching, network, points, labels, count)


@pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])
@pytest.mark.parametrize("count", [1, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("no_collector")
def test_its_graph_is_freed_with_it(matching: Matching, count: int) -> None:
    """Reference counts alone must free it: a cycle through autograd's graph is invisible to Python's collector."""
    network = build(NetworkConfig(width=8, depth=2), (3, SIDE, SIDE), 4)
    initialize(network, generator(44, "freed"))
    images, labels = batch(2)
    entered: list[weakref.ref[Tensor]] = []
    handle = network.body.register_forward_pre_hook(lambda module, given: entered.append(weakref.ref(given[0])))
    pull = matching.pullback(network, images, labels, count, BUDGET)
    handle.remove()
    pull(tuple(torch.ones(1, 1, *block.shape) for block in matching.real_mean(network, images, labels)))
    assert entered[-1]() is not None  # the tiled batch lives as long as the pullback
    del pull
    assert all(reference() is None for reference in entered)


def test_lanes_follow_memory_and_balance_the_calls() -> None:
    one = torch.zeros(1, 3, 8, 8)
    assert lanes_for(one, 20, 1, 10**9) == 10  # two calls of ten instead of sixteen and four
    assert lanes_for(one, 20, 1000, 5000) == 5
    assert lanes_for(one, 20, 1000, 10) == 1
    assert lanes_for(torch.zeros(50, 3, 8, 8), 20, 1, 10**9) == 1


def test_a_small_budget_changes_nothing_but_the_lanes() -> None:
    network = build(NetworkConfig(width=8, depth=2), (3, SIDE, SIDE), 4)
    initialize(network, generator(43, "budget"))
    images, labels = batch(1)
    matching = GradientMatching("dc")
    large, small = (matching.pullback(network, images, labels, 16, budget) for budget in (BUDGET, 1))
    assert (large.lanes, small.lanes) == (16, 1)
    mean = matching.real_mean(network, images, labels)
    cotangents = tuple(torch.randn(1, 1, *block.shape, generator=generator(43, "c")) for block in mean)
    torch.testing.assert_close(large(cotangents), small(cotangents), rtol=1e-4, atol=1e-6)
