"""An optimizer whose values start anew in place does what a new one does, to the bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bilp.seeds import generator
from bilp.training.optimizers import forget, keep_in_place, set_rate, sgd, stays_in_place

Maker = Callable[[list[Tensor]], torch.optim.Optimizer]


def fresh() -> nn.Linear:
    layer = nn.Linear(5, 3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(0, "layer", parameter.dim())))
    return layer


def steps(layer: nn.Linear, optimizer: torch.optim.Optimizer, name: str, count: int = 4) -> None:
    for number in range(count):
        inputs = torch.randn(7, 5, generator=generator(0, name, number))
        optimizer.zero_grad()
        layer(inputs).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda held: torch.optim.SGD(held, lr=0.1, momentum=0.9, weight_decay=0.01, fused=True),
        lambda held: torch.optim.SGD(held, lr=0.1, fused=True),
        lambda held: torch.optim.AdamW(held, lr=0.1, weight_decay=0.01, fused=True),
    ],
    ids=["momentum", "plain", "adamw"],
)
def test_what_starts_anew_in_place_is_as_good_as_new(make: Maker) -> None:
    first, second = fresh(), fresh()
    kept, passing = make(list(first.parameters())), make(list(second.parameters()))
    for optimizer in (kept, passing):
        keep_in_place(optimizer, torch.device("cpu"))
        assert stays_in_place(optimizer)
    places = [group["lr"] for group in kept.param_groups]
    steps(first, kept, "before")
    steps(second, passing, "before")
    forget(kept)
    set_rate(kept, 0.02)
    passing = make(list(second.parameters()))
    keep_in_place(passing, torch.device("cpu"))
    set_rate(passing, 0.02)
    steps(first, kept, "after")
    steps(second, passing, "after")
    assert all(group["lr"] is place for group, place in zip(kept.param_groups, places, strict=True)), "a graph would miss it"
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        assert not torch.equal(one, torch.zeros_like(one))


def test_on_a_cpu_sgd_is_what_it_was() -> None:
    one, other = fresh(), fresh()
    optimizer = sgd(one.parameters(), 0.1, 0.9, 5e-4)
    assert not stays_in_place(optimizer)
    assert optimizer.param_groups[0]["fused"] is None
    steps(one, optimizer, "plain")
    steps(other, torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4), "plain")
    assert torch.equal(one.weight, other.weight)
    set_rate(optimizer, 0.5)
    assert optimizer.param_groups[0]["lr"] == 0.5
