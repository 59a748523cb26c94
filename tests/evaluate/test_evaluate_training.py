"""Training follows the papers' protocol to the letter: compared with a plain loop written without bilp."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.config import NetworkConfig
from bilp.data import Dataset
from bilp.errors import Diverged
from bilp.images import augment
from bilp.nets import Network, build, initialize
from bilp.seeds import generator
from bilp.training import train as training
from bilp.training.batch_augment import Streams
from bilp.training.train import ImageSet, accuracy, train
from bilp.training.training_schedule import Schedule


def fresh(**settings: object) -> Network:
    network = build(NetworkConfig.model_validate({"width": 8, **settings}), (1, 8, 8), 10)
    initialize(network, generator(0, "init"))
    return network


def some(count: int) -> tuple[Tensor, Tensor]:
    stream = generator(0, "data", count)
    return torch.randn(count, 1, 8, 8, generator=stream), torch.randint(10, (count,), generator=stream)


def plain_protocol(
    network: Network, images: Tensor, labels: Tensor, schedule: Schedule, order: torch.Generator, draws: torch.Generator
) -> None:
    """The protocol as its authors wrote it down, with SGD spelled out."""
    rate = schedule.learning_rate
    velocity: dict[str, Tensor] = {}
    network.train()
    for epoch in range(schedule.epochs + 1):
        shuffled = torch.randperm(len(labels), generator=order)
        for start in range(0, len(labels), schedule.batch_size):
            batch = shuffled[start : start + schedule.batch_size]
            inputs = augment.apply(images[batch], augment.draw(schedule.augment, (8, 8), draws, len(batch)))
            loss = functional.cross_entropy(network(inputs), labels[batch])
            names, parameters = zip(*network.named_parameters(), strict=True)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
                    step = gradient + schedule.weight_decay * parameter
                    velocity[name] = schedule.momentum * velocity[name] + step if name in velocity else step
                    parameter -= rate * velocity[name]
        if epoch == schedule.epochs // 2 + 1:
            rate, velocity = 0.1 * rate, {}


@pytest.mark.parametrize("epochs", [1, 2, 5, 6])
@pytest.mark.parametrize("families", [(), ("color", "crop", "rotate")])
def test_weights_equal_those_of_the_plain_protocol(epochs: int, families: tuple[str, ...]) -> None:
    images, labels = some(23)
    schedule = Schedule(epochs, 8, 0.05, 0.9, 5e-3, families)
    ours, theirs = fresh(), fresh()
    passes = list(
        train(
            ours,
            ImageSet.of_tensors(images, labels),
            schedule,
            Streams(generator(1, "order"), generator(1, "augment"), generator(1, "cutmix"), generator(1, "dropout")),
        )
    )
    plain_protocol(theirs, images, labels, schedule, generator(1, "order"), generator(1, "augment"))
    assert passes == list(range(epochs + 1))
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
    assert (ours.classifier.weight - fresh().classifier.weight).abs().max() > 1e-2, "it was trained"


def test_the_late_epochs_take_small_steps_without_old_momentum() -> None:
    images, labels = some(16)
    network = fresh(norm="none")
    schedule = Schedule(10, 16, 0.05, 0.9, 0.0, ())
    lengths, before = [], copy.deepcopy(network.state_dict())
    for _ in train(network, ImageSet.of_tensors(images, labels), schedule, Streams(*map(generator, (2, 3, 4, 5)))):
        after = copy.deepcopy(network.state_dict())
        lengths.append(sum((after[name] - before[name]).norm().item() for name in after))
        before = after
    assert lengths[7] < 0.1 * lengths[6]  # epoch 10 // 2 + 1 = 6 is the last with the full step size


def test_batch_norm_trains_on_batches_and_is_tested_with_running_statistics() -> None:
    images, labels = some(33)  # batches of 8 leave one sample over, of which batch norm has no statistics
    data, network = ImageSet.of_tensors(images, labels), fresh(norm="batch")
    for _ in train(network, data, Schedule(2, 8, 0.01, 0.9, 0.0, ()), Streams(*map(generator, (4, 5, 6, 7)))):
        assert network.training
        accuracy(network, data)
        assert not network.training
    tracked = [buffer.item() for name, buffer in network.named_buffers() if name.endswith("num_batches_tracked")]
    assert tracked == [12, 12, 12]
    logits = network(images)
    torch.testing.assert_close(logits[3:5], network(images[3:5]))  # eval mode: samples do not influence each other


def test_accuracy_counts_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = some(50)
    network = fresh()
    hits = sum(int(network(image[None]).argmax() == label) for image, label in zip(images, labels, strict=True))
    for size in (7, 50, 256):
        monkeypatch.setattr(training, "TEST_BATCH", size)
        assert accuracy(network, ImageSet.of_tensors(images, labels)) == hits / 50


def test_a_network_that_left_the_numbers_has_no_accuracy() -> None:
    images, labels = some(5)
    network = fresh()
    with torch.no_grad():
        network.classifier.bias[3] = torch.nan
    with pytest.raises(Diverged, match="not finite"):
        accuracy(network, ImageSet.of_tensors(images, labels))


def test_a_large_split_is_read_in_batches_with_the_same_images(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ImageSet.of_split(digits.train, digits.shape)
    monkeypatch.setattr(training, "KEPT_BYTES", 0)
    read = ImageSet.of_split(digits.train, digits.shape)
    indices = torch.tensor([5, 1400, 0, 5])
    assert torch.equal(kept.images(indices), read.images(indices))
    assert torch.equal(kept.images(indices), digits.train.batch(indices))
    assert torch.equal(kept.labels, read.labels)
    assert (kept.side, len(kept)) == (read.side, len(read)) == ((8, 8), len(digits.train))
