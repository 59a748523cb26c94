"""Networks trained in one computation against the same networks trained one by one, and which of the two is chosen."""

from __future__ import annotations

import pytest
import torch

from bilp.config import NetworkConfig
from bilp.data import Dataset
from bilp.errors import Diverged
from bilp.evaluate.stacked_training import accuracies, fresh_stack, networks_at_once, train_together
from bilp.nets import Network, build, initialize
from bilp.seeds import generator
from bilp.training.batch_augment import Streams
from bilp.training.train import ImageSet, accuracy, train
from bilp.training.training_schedule import Schedule

pytestmark = pytest.mark.slow

NETWORKS = (NetworkConfig(width=8), NetworkConfig(name="mlp"), NetworkConfig(width=8, depth=2, norm="layer", pooling="max"))
SCHEDULES = {
    "dc": Schedule(3, 8, 0.05, 0.9, 5e-3, augment=("color", "crop", "cutout", "scale")),
    "idc": Schedule(
        6, 8, 0.05, 0.9, 5e-3, ("crop", "rotate"), ("flip", "color"), cutmix=0.5, decay="steps", milestones=(2 / 3,), decay_factor=0.2
    ),
    "dc on mnist": Schedule(3, 8, 0.05, 0.9, 5e-3, augment_each=("crop", "scale", "rotate", "noise")),
    "idc on svhn": Schedule(3, 8, 0.05, 0.9, 5e-3, ("crop", "scale"), ("color",), augment_after=("cutout",)),
    "soft": Schedule(3, 8, 1e-3, 0.0, 0.01, ("crop",), cutmix=1.0, optimizer="adamw", decay="cosine", temperature=4.0),
}
SEEDS = 3


def some(count: int, name: str = "data") -> ImageSet:
    stream = generator(0, name, count)
    images = torch.randn(count, 1, 8, 8, generator=stream, dtype=torch.float64)  # so that rounding hides no difference
    return ImageSet.of_tensors(images, torch.randint(10, (count,), generator=stream))


def fresh(config: NetworkConfig, number: int) -> Network:
    network = build(config, (1, 8, 8), 10).double()
    initialize(network, generator(7, number))
    return network


@pytest.mark.parametrize("shared", [True, False], ids=["one set", "a set per network"])
@pytest.mark.parametrize("protocol", list(SCHEDULES))
@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: f"{config.name}-{config.norm}")
def test_together_is_one_by_one(config: NetworkConfig, protocol: str, shared: bool) -> None:
    schedule = SCHEDULES[protocol]
    sets = [some(21)] * SEEDS if shared else [some(21, f"set {k}") for k in range(SEEDS)]
    teacher = fresh(NetworkConfig(width=8, norm="batch"), 99).eval() if protocol == "soft" else None
    network = build(config, (1, 8, 8), 10).double()
    stacked = fresh_stack(network, [generator(7, k) for k in range(SEEDS)])
    start = {name: value.detach().clone() for name, value in stacked.items()}
    epochs = list(train_together(network, stacked, sets, schedule, [Streams.of(1, "net", k) for k in range(SEEDS)], teacher))
    assert epochs == list(range(schedule.passes))
    found = accuracies(network, stacked, some(300, "test"))
    for k in range(SEEDS):
        alone = fresh(config, k)
        for name, value in alone.named_parameters():
            assert torch.equal(value, start[name][k]), name
        list(train(alone, sets[k], schedule, Streams.of(1, "net", k), teacher))
        for name, value in alone.named_parameters():
            torch.testing.assert_close(stacked[name][k], value, rtol=1e-6, atol=1e-8, msg=f"{name} of network {k}")
        assert accuracy(alone, some(300, "test")) == found[k]
        assert not torch.equal(stacked["classifier.weight"][k], start["classifier.weight"][k]), "it was trained"


def test_a_network_that_left_the_numbers_is_named() -> None:
    network = build(NETWORKS[1], (1, 8, 8), 10).double()
    stacked = fresh_stack(network, [generator(7, k) for k in range(3)])
    with torch.no_grad():
        stacked["classifier.bias"][1, 4] = torch.nan
    with pytest.raises(Diverged, match="network 1 of those"):
        accuracies(network, stacked, some(20))


def test_sets_of_different_sizes_and_batch_norm_are_refused() -> None:
    network, coupled = build(NETWORKS[1], (1, 8, 8), 10), build(NetworkConfig(width=8, norm="batch"), (1, 8, 8), 10)
    streams = [Streams.of(1, "net", k) for k in range(2)]
    for module, sets in ((network, [some(5), some(6)]), (coupled, [some(5), some(5)])):
        stacked = fresh_stack(module, [generator(7, k) for k in range(2)])
        with pytest.raises(ValueError, match="one by one"):
            next(train_together(module, stacked, sets, SCHEDULES["dc"], streams))


def test_what_is_chosen(digits: Dataset) -> None:
    schedule = Schedule(300, 256, 0.01, 0.9, 5e-4)

    def chosen(asked: int | None, config: NetworkConfig, images: int, device: str) -> int:
        return networks_at_once(asked, config, digits, images, schedule, device)

    narrow, wide = NetworkConfig(width=16), NetworkConfig()
    assert chosen(None, narrow, 10, "cpu") > 5
    assert chosen(None, wide, 256, "cpu") == 1, "on a CPU large operations gain nothing"
    assert chosen(None, wide, 256, "cuda") > chosen(None, wide, 256, "cpu")
    assert chosen(None, wide, 50_000, "cuda") == 1
    assert chosen(4, wide, 50_000, "cpu") == 4, "what was asked for"
    assert chosen(4, NetworkConfig(norm="batch"), 10, "cpu") == 1
    assert chosen(None, wide, 4000, "cuda") < chosen(None, narrow, 4000, "cuda"), "memory is bounded"
