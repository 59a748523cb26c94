"""A pass that is differentiated twice computes every layer once, and leaves the network as it was."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bilp.config import NetworkConfig
from bilp.matching import GradientMatching
from bilp.matching.recording import NoRule, record
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SHAPE = (3, 8, 8)


class Operations(TorchDispatchMode):
    """How often each operation was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func._schema.name.split("::")[1]] += 1
        return func(*args, **(kwargs or {}))


def network(depth: int = 2) -> Network:
    made = build(NetworkConfig(width=4, depth=depth), SHAPE, 3)
    initialize(made, generator(61, "network"))
    return made


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(4, *SHAPE, generator=generator(61, "images")), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("twice", [False, True])
def test_every_layer_is_computed_once(twice: bool) -> None:
    images, labels = batch()
    with Operations() as seen:
        loss, calls = record(network(), images.requires_grad_(), labels, twice=twice)
    assert (seen.counts["convolution"], seen.counts["native_group_norm"], seen.counts["addmm"]) == (2, 2, 1)
    assert len(calls) == 3
    wanted = nn.functional.cross_entropy(network()(images), labels, reduction="sum")
    torch.testing.assert_close(loss, wanted)


def test_the_network_is_itself_afterwards_also_after_a_failure() -> None:
    net, (images, labels) = network(), batch()
    doubled = net.body[1]
    own = doubled.forward
    doubled.forward = lambda maps: 2.0 * own(maps)  # somebody else's change
    wanted = net(images)
    record(net, images.clone().requires_grad_(), labels, twice=True)
    assert torch.equal(net(images), wanted)
    with pytest.raises(NoRule, match="one leading row per sample"):
        record(Turned(net), images.clone().requires_grad_(), labels, twice=True)
    assert torch.equal(net(images), wanted)
    assert [name for name, module in net.named_modules() if "forward" in vars(module)] == ["body.1"]
    assert not any(module._forward_hooks for module in net.modules())


class Turned(nn.Module):
    """Gives the network half of the images."""

    def __init__(self, inner: Network) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images[:2]).repeat(2, 1)


def test_the_gradient_is_that_of_the_definition() -> None:
    net, (images, labels) = network(), batch()
    matching = GradientMatching("dc")
    images, labels = images[:2], labels[:2]
    means = [tuple(block * factor for block in matching.real_mean(net, images, labels)) for factor in (0.5, 1.5)]
    found = matching.distances_and_gradient(net, images, labels, means)
    wanted = super(GradientMatching, matching).distances_and_gradient(net, images, labels, means)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
