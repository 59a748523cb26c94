"""The synthetic side of several classes at once, against one class after the other."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from bilp.config import MethodName, NetworkConfig
from bilp.errors import ConfigError
from bilp.matching import Matching, matching_for
from bilp.nets import build, initialize
from bilp.seeds import generator

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)


@pytest.mark.parametrize("method", ["dm", "dc"])
@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(width=8),
        NetworkConfig(width=8, norm="layer", pooling="max", activation="swish"),
        NetworkConfig(width=8, norm="group", depth=2),
        NetworkConfig(width=8, norm="none", activation="leaky_relu"),
        NetworkConfig(name="mlp"),
        NetworkConfig(name="lenet"),
    ],
)
@pytest.mark.parametrize(("classes", "ipc"), [(1, 1), (3, 1), (4, 3)])
def test_all_at_once_equals_one_by_one(method: MethodName, network: NetworkConfig, classes: int, ipc: int) -> None:
    shape = (1, 28, 28) if network.name == "lenet" else SHAPE
    module = build(network, shape, 5)
    stream = generator(11, "together", method, network.name, network.norm, classes, ipc)
    initialize(module, stream)
    matching = matching_for(method)
    images = torch.randn(classes * ipc, *shape, generator=stream)
    labels = torch.arange(classes).repeat_interleave(ipc)
    real = torch.randn(6, *shape, generator=stream)
    means = [matching.real_mean(module, real, torch.full((6,), c)) for c in range(classes)]
    found, wanted = (
        how(module, images, labels, means) for how in (matching.distances_and_gradient, partial(Matching.distances_and_gradient, matching))
    )
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=1e-6)
    scale = float(wanted[1].norm())
    assert scale > 0
    assert float((found[1] - wanted[1]).norm()) < 1e-5 * scale
    assert not found[0].requires_grad
    assert not found[1].requires_grad


def test_a_network_without_rules_goes_class_by_class() -> None:
    module = build(NetworkConfig(width=8), SHAPE, 3)
    initialize(module, generator(12, "network"))
    first = module.body[0]
    assert isinstance(first, nn.Conv2d)
    first.padding_mode = "circular"
    matching = matching_for("dc")
    images, labels = torch.randn(4, *SHAPE, generator=generator(12, "images")), torch.tensor([0, 0, 1, 1])
    means = [matching.real_mean(module, images[2:], torch.full((2,), c)) for c in range(2)]
    found, wanted = (
        how(module, images, labels, means) for how in (matching.distances_and_gradient, partial(Matching.distances_and_gradient, matching))
    )
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])


@pytest.mark.parametrize("method", ["dm", "dc"])
def test_batch_norm_that_mixes_samples_is_refused(method: MethodName) -> None:
    module = build(NetworkConfig(width=8, norm="batch"), SHAPE, 3)
    initialize(module, generator(13, "network"))
    images, labels = torch.randn(2, *SHAPE), torch.tensor([0, 1])
    with pytest.raises(ConfigError, match="training mode"):
        matching_for(method).distances_and_gradient(module, images, labels, [(torch.zeros(1),)] * 2)
