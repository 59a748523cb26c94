"""Dropout in the trainings of an evaluation: drawn from the training's own stream, off in tests, never in a stack of networks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.config import NetworkConfig
from bilp.evaluate.stacked_training import fresh_stack, train_together
from bilp.nets import Network, initialize
from bilp.nets.convnet3d import convnet3d
from bilp.seeds import generator
from bilp.training.batch_augment import Streams
from bilp.training.train import ImageSet, accuracy, train, trains_alone
from bilp.training.training_schedule import Schedule

SHAPE = (4, 1, 43, 43)
SCHEDULE = Schedule(2, 4, 0.05, 0.9, 5e-3, decay="none")


def fresh() -> Network:
    network = convnet3d(NetworkConfig(name="convnet3d"), SHAPE, 3, ((2, 1), (3, 2), (8, 2)))
    initialize(network, generator(0, "init"))
    return network.double()


def some(count: int = 7) -> tuple[Tensor, Tensor]:
    stream = generator(0, "videos")
    return torch.randn(count, *SHAPE, generator=stream, dtype=torch.float64), torch.randint(3, (count,), generator=stream)


def streams(dropout: int) -> Streams:
    return Streams(generator(1, "order"), generator(1, "augment"), generator(1, "cutmix"), generator(dropout, "dropout"))


def trained(dropout: int) -> Network:
    network, data = fresh(), ImageSet.of_tensors(*some())
    before = torch.random.get_rng_state()
    for _ in train(network, data, SCHEDULE, streams(dropout)):
        tested = [accuracy(network, data) for _ in range(2)]
        assert tested[0] == tested[1]
    assert torch.equal(before, torch.random.get_rng_state())
    return network


def test_a_training_with_dropout_written_down() -> None:
    (videos, labels), theirs = some(), fresh()
    order, chance = generator(1, "order"), generator(2, "dropout")
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)
    for _ in range(2):
        for rows in torch.randperm(7, generator=order).split(4):
            features = theirs.body(videos[rows])
            mask = torch.rand(features.shape, generator=chance) >= 0.5
            loss = functional.cross_entropy(theirs.classifier(2.0 * mask * features), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    ours = trained(2)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-9, atol=1e-12, msg=name)
    weight = ours.classifier.weight
    assert torch.equal(weight, trained(2).classifier.weight)
    assert not torch.allclose(weight, trained(3).classifier.weight, rtol=1e-3)


def test_a_training_that_is_left_in_the_middle_leaves_no_chance_behind() -> None:
    network, (videos, labels) = fresh(), some()
    epochs = train(network, ImageSet.of_tensors(videos, labels), SCHEDULE, streams(2))
    next(epochs)
    assert network.training
    assert torch.equal(network(videos), network(videos))


def test_networks_with_dropout_are_trained_one_by_one() -> None:
    network, data = fresh(), ImageSet.of_tensors(*some())
    assert trains_alone(network)
    stacked = fresh_stack(copy.deepcopy(network), [generator(3, k) for k in range(2)])
    with pytest.raises(ValueError, match="without batch norm or dropout"):
        next(train_together(network, stacked, [data, data], SCHEDULE, [streams(1), streams(2)]))


def test_every_training_has_a_dropout_stream_of_its_own() -> None:
    drawn = {Streams.of(seed, name, number).dropout.initial_seed() for seed in (0, 1) for name in ("a", "b") for number in (0, 1)}
    assert len(drawn) == 8
    assert Streams.of(0, "a", 0).dropout.initial_seed() != Streams.of(0, "a", 0).order.initial_seed()
