"""Every network and seed of an evaluation, on one set or on one set per seed, with streams that all arms share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bilp.config import EvaluateConfig, NetworkConfig
from bilp.data import Dataset
from bilp.errors import ConfigError, Diverged
from bilp.evaluate.training import ImageSet, Schedule, accuracy, train
from bilp.nets import Network, build, initialise, label
from bilp.progress import Progress
from bilp.seeds import generator

MOST_LOOKS = 10
# A training step costs about as much as three forward passes over its images.
FORWARD_PASSES_PER_STEP = 3


@dataclass(frozen=True)
class Training:
    """The outcome of one training; accuracies are shares of the real test split in [0, 1].

    `accuracy` is measured after the last epoch and is the result. `best_accuracy` is the best of a few measurements on
    the way, the last included: it is selected on the test split, as many published numbers are, hence optimistic. It
    is recorded for comparison with those and decides nothing.
    """

    network: str
    seed: int
    accuracy: float
    best_accuracy: float
    train_images: int


def check_networks(config: EvaluateConfig, shape: tuple[int, int, int], classes: int) -> dict[str, NetworkConfig]:
    """The networks by label; raises ConfigError, before any training, if one cannot be built or is listed twice."""
    networks: dict[str, NetworkConfig] = {}
    for network in config.networks:
        if label(network) in networks:
            raise ConfigError(f"evaluate.networks lists {label(network)!r} twice: name each network once")
        build(network, shape, classes)
        networks[label(network)] = network
    return networks


def train_all(
    config: EvaluateConfig, dataset: Dataset, set_for: Callable[[int], ImageSet], epochs: int, who: str, device: str, progress: Progress
) -> list[Training]:
    """Train every network with every seed on `set_for(seed)` and test it on the real test split.

    Initial parameters, order and augmentation depend on (config.seed, network, seed) only, never on the set: the same
    (network, seed) meets the same chance in every arm, which makes the arms comparable in pairs.
    Raises ConfigError as `check_networks`, and Diverged naming `who` if a training leaves the finite numbers.
    """
    networks = check_networks(config, dataset.shape, dataset.classes)
    test = ImageSet.of_split(dataset.test, dataset.shape, device)
    schedule = Schedule.of_config(config, epochs)
    total = len(networks) * config.seeds * (epochs + 1)
    trainings: list[Training] = []
    for name, network_config in networks.items():
        network = build(network_config, dataset.shape, dataset.classes).to(device)
        for seed in range(config.seeds):
            done = len(trainings) * (epochs + 1)

            def report(epoch: int, done: int = done, note: str = f"{who}: {name}, seed {seed}") -> None:
                progress(done + epoch + 1, total, note)

            initialise(network, generator(config.seed, "evaluate", "network", name, seed))
            data = set_for(seed)
            try:
                last, best = _train_one(network, data, test, schedule, (config.seed, name, seed), report)
            except Diverged as error:
                raise Diverged(f"evaluation of {who} with {name}, seed {seed}: {error}; lower evaluate.learning_rate") from None
            trainings.append(Training(name, seed, last, best, len(data)))
    return trainings


def look_epochs(epochs: int, train_images: int, test_images: int) -> tuple[int, ...]:
    """Epochs after which the test accuracy is measured: evenly spread, the last included, at most 10.

    There are as many as cost no more than the training itself, so that small sets are not dominated by testing.
    """
    affordable = FORWARD_PASSES_PER_STEP * (epochs + 1) * train_images // test_images
    looks = min(MOST_LOOKS, max(1, affordable), epochs + 1)
    return tuple((epochs + 1) * look // looks - 1 for look in range(1, looks + 1))


def _train_one(
    network: Network, data: ImageSet, test: ImageSet, schedule: Schedule, stream: tuple[int, str, int], report: Callable[[int], None]
) -> tuple[float, float]:
    """Last and best test accuracy of one training."""
    seed, name, number = stream
    order = generator(seed, "evaluate", "order", name, number)
    augmentation = generator(seed, "evaluate", "augment", name, number)
    looks = look_epochs(schedule.epochs, len(data), len(test))
    measured: list[float] = []
    for epoch in train(network, data, schedule, order, augmentation):
        if epoch in looks:
            measured.append(accuracy(network, test))
        report(epoch)
    return measured[-1], max(measured)
