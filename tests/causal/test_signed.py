"""The signed effect: the adjoint identity, and the sign that leaving a sample out really has."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilp.causal import ClassBatch, EffectSettings, effects, signed_effects
from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.images import augment
from bilp.matching import Matching, matching_for
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

CLASSES, SIDE = 3, 8


def _network() -> Network:
    network = build(NetworkConfig(width=8, depth=2), (1, SIDE, SIDE), CLASSES)
    initialize(network, generator(5, "network"))
    return network


def _draw(name: str, count: int) -> Tensor:
    return torch.randn(count, 1, SIDE, SIDE, generator=generator(6, name))


def _batch(real: int = 9, synthetic: int = 2) -> ClassBatch:
    params = augment.draw(("scale",), (SIDE, SIDE), generator(3, "params"))
    one = torch.ones(real, dtype=torch.int64), torch.ones(synthetic, dtype=torch.int64)
    return ClassBatch((_draw("real", real), one[0]), (_draw("synthetic", synthetic), one[1]), lambda images: augment.apply(images, params))


@pytest.fixture(params=["dm", "dc", "dsa"])
def matching(request: pytest.FixtureRequest) -> Matching:
    return matching_for(request.param)


@pytest.mark.parametrize("byte_budget", [2**29, 1])
def test_the_component_is_the_product_with_the_effect_itself(matching: Matching, byte_budget: int) -> None:
    network, batch = _network(), _batch()
    directions = torch.stack([_draw("v", 2), _draw("w", 2)])
    found = signed_effects(matching, network, batch, directions, EffectSettings(byte_budget=byte_budget))
    whole = torch.cat(list(effects(matching, network, batch))).flatten(1)
    wanted = directions.flatten(1) @ whole.T
    assert found.along.shape == (2, 9)
    torch.testing.assert_close(found.along, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    assert float(wanted.abs().max()) > 0 and bool((wanted < 0).any()) and bool((wanted > 0).any())


def _held_out(network: Network, images: Tensor, labels: Tensor, step: float = 0.5) -> Tensor:
    """The loss on held-out images of a network after one step on the synthetic ones."""
    names, values = zip(*network.named_parameters(), strict=True)
    values = tuple(value.detach().requires_grad_() for value in values)
    loss = torch.nn.functional.cross_entropy(torch.func.functional_call(network, dict(zip(names, values, strict=True)), (images,)), labels)
    found = torch.autograd.grad(loss, values, create_graph=True)
    moved = {name: value - step * own for name, value, own in zip(names, values, found, strict=True)}
    others = _draw("held out", 12), torch.arange(12) % CLASSES
    return torch.nn.functional.cross_entropy(torch.func.functional_call(network, moved, (others[0].to(images),)), others[1])


def test_the_sign_is_that_of_leaving_the_sample_out(matching: Matching) -> None:
    network, batch = _network(), _batch(real=24)
    stored, labels = batch.synthetic
    points = stored.clone().requires_grad_()
    (v,) = torch.autograd.grad(_held_out(network, points, labels), points)
    predicted = signed_effects(matching, network, batch, v.unsqueeze(0)).along[0]

    network, images, stored = network.double(), batch.real[0].double(), stored.double()

    def gradient(real: Tensor) -> Tensor:
        own = stored.clone().requires_grad_()
        mean = matching.real_mean(network, real, torch.ones(len(real), dtype=torch.int64))
        distance = matching.distance(mean, matching.synthetic(network, batch.augment(own), labels))
        return torch.autograd.grad(distance, own)[0]

    rate = 1e-2 / gradient(images).norm()

    def loss_after(real: Tensor) -> Tensor:
        """The held-out loss once the synthetic images took one step towards the mean of these real ones."""
        return _held_out(network, stored - rate * gradient(real), labels).detach()

    whole = loss_after(images)
    changes = torch.stack([loss_after(torch.cat([images[:i], images[i + 1 :]])) - whole for i in range(len(images))])
    large = predicted.abs() > predicted.abs().median()
    agree = float((changes.sign() == predicted.double().sign())[large].double().mean())
    assert agree > 0.8, f"the signs of {agree:.0%} agree"


def test_a_single_sample_has_none() -> None:
    with pytest.raises(ConfigError, match="a single sample"):
        signed_effects(matching_for("dm"), _network(), _batch(real=1), torch.zeros(1, 2, 1, SIDE, SIDE))
