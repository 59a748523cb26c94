"""Every network and seed of an evaluation, on one set or on one set per seed, with streams that all arms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import nn

from bilp.config import EvaluateConfig, NetworkConfig
from bilp.config.evaluated_set import Block
from bilp.config.shapes import Shape
from bilp.data import Dataset
from bilp.errors import ConfigError, Diverged
from bilp.evaluate.linear_probe import Encoders, LinearProbe, OnFeatures, test_features, title
from bilp.evaluate.own import own_settings
from bilp.evaluate.stacked_training import answers_of_all, fresh_stack, networks_at_once, shares, train_together
from bilp.evaluate.training_cache import Parts, Training
from bilp.images.resampling import center_of_enlarged
from bilp.nets import Network, build, initialize, label
from bilp.nets.arithmetic import arithmetic, place
from bilp.progress import Progress, silent
from bilp.seeds import generator
from bilp.training.answers import Answers
from bilp.training.batch_augment import Streams, standardized
from bilp.training.course import Course, Losses
from bilp.training.train import TEST_BATCH, ImageSet, answers, confusion, train
from bilp.training.training_schedule import Schedule

MOST_LOOKS = 10
# A training step costs about as much as three forward passes over its images.
FORWARD_PASSES_PER_STEP = 3


@dataclass(frozen=True)
class Plan:
    """How the trainings of one evaluation go; `who` names them in messages, `parts` keeps what is done, by network, if given."""

    config: EvaluateConfig
    epochs: int
    who: str
    device: str = "cpu"
    progress: Progress = silent
    parts: Callable[[NetworkConfig], Parts] | None = None
    teacher: nn.Module | None = None
    encoders: Encoders | None = None
    """What linear probes are trained on."""

    @property
    def schedule(self) -> Schedule:
        """The settings with this plan's number of epochs."""
        return Schedule.of_config(self.config, self.epochs)

    def of(self, network: NetworkConfig) -> Self:
        """The plan as it holds for one network."""
        own = own_settings(self.config.model_copy(update={"epochs": self.epochs}), network)
        return replace(self, config=own, epochs=own.epochs)


def check_networks(config: EvaluateConfig, shape: Shape, classes: int) -> dict[str, NetworkConfig]:
    """The networks by label; raises ConfigError, before any training, if one cannot be built or is listed twice."""
    networks: dict[str, NetworkConfig] = {}
    for network in config.networks:
        if label(network) in networks:
            raise ConfigError(f"evaluate.networks lists {label(network)!r} twice: name each network once")
        build(network, shape, classes)
        networks[label(network)] = network
    return networks


def train_all(plan: Plan, dataset: Dataset, set_for: Callable[[int], ImageSet], block: Block | None = None) -> list[Training]:
    """Train every network with every seed on `set_for(seed)`, or those of a block alone, and test it on the real test split.

    Initial parameters, order and augmentation depend on (config.seed, network, seed) only, never on the set: the same
    (network, seed) draws common random numbers in every arm, which makes the arms comparable in pairs.
    Raises ConfigError as `check_networks`, and Diverged naming who if a training leaves the finite numbers.
    """
    config = plan.config
    networks = check_networks(config, dataset.shape, dataset.classes)
    test = tested(config, dataset, plan.device)
    plans = [(network, plan.of(network)) for network in networks.values()]
    plans = plans if block is None else [plans[block.network]]
    asked = range(config.seeds) if block is None else range(block.first, block.last + 1)
    done, total = 0, len(asked) * sum(own.schedule.passes for _, own in plans)
    trainings: list[Training] = []
    for network, own in plans:
        together = networks_at_once(config.at_once, network, dataset, len(set_for(0)), own.schedule, plan.device)
        for first in range(0, config.seeds, together):
            if first not in asked:
                continue
            seeds = range(first, min(first + together, config.seeds))

            def report(epoch: int, done: int = done, count: int = len(seeds), note: str = _note(plan, network, seeds)) -> None:
                plan.progress(done + count * (epoch + 1), total, note)

            trainings += _trained(own, network, seeds, dataset, set_for, test, report)
            done += own.schedule.passes * len(seeds)
    return trainings


def tested(config: EvaluateConfig, dataset: Dataset, device: str) -> ImageSet:
    """The test split as networks see it."""
    test = ImageSet.of_split(dataset.test, dataset.shape, device)
    if config.test_enlarged:
        plain = test.images
        test = replace(test, images=lambda indices: center_of_enlarged(plain(indices)))
    if config.standardize == "batch":
        usual = test.images
        test = replace(test, images=lambda indices: standardized(usual(indices)[None])[0], at_once=TEST_BATCH)
    return test


def look_epochs(passes: int, train_images: int, test_images: int) -> tuple[int, ...]:
    """Epochs after which the test accuracy is measured: evenly spread, the last included, at most 10.

    There are as many as cost no more than the training itself, so that small sets are not dominated by testing.
    """
    affordable = FORWARD_PASSES_PER_STEP * passes * train_images // test_images
    looks = min(MOST_LOOKS, max(1, affordable), passes)
    return tuple(passes * look // looks - 1 for look in range(1, looks + 1))


def _note(plan: Plan, network: NetworkConfig, seeds: range) -> str:
    return f"{plan.who}: {title(plan.config, network)}, {_numbers(seeds)}"


def _numbers(seeds: range) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _trained(
    plan: Plan,
    network: NetworkConfig,
    seeds: range,
    dataset: Dataset,
    set_for: Callable[[int], ImageSet],
    test: ImageSet,
    report: Callable[[int], None],
) -> list[Training]:
    """The trainings with `seeds`, in one computation; those that were kept are read."""
    parts = None if plan.parts is None else plan.parts(network)
    if parts is not None and (kept := parts.find(network, seeds)) is not None:
        return kept
    sets = [set_for(seed) for seed in seeds]
    name = title(plan.config, network)
    streams = [Streams.of(plan.config.seed, name, seed) for seed in seeds]
    fresh = [generator(plan.config.seed, "evaluate", "network", name, seed) for seed in seeds]
    module = _module(plan, network, dataset)
    try:
        with arithmetic(plan.config.gpu, plan.device):
            if isinstance(module, LinearProbe):
                assert plan.encoders is not None
                test = test_features(plan.encoders(network), test, plan.config, dataset)
            seen = (_alone if len(seeds) == 1 else _together)(plan, module, fresh, sets, streams, test, report)
    except Diverged as error:
        who = f"{plan.who} with {name}, {_numbers(seeds)}"
        raise Diverged(f"evaluation of {who}: {error}; lower evaluate.learning_rate") from None
    trainings = [
        Training(
            network=name,
            seed=seed,
            accuracy=course.accuracies[-1],
            best_accuracy=max(course.accuracies),
            train_images=len(data),
            course=course,
            **seen.top_k(position, plan.config.top_k),
        )
        for position, (seed, data, course) in enumerate(zip(seeds, sets, seen.courses(test, dataset.classes), strict=True))
    ]
    if parts is not None:
        parts.keep(network, trainings)
    return trainings


def _module(plan: Plan, network: NetworkConfig, dataset: Dataset) -> Network:
    """What is trained, on its device, its parameters not drawn yet."""
    if plan.encoders is None:
        module = build(network, dataset.shape, dataset.classes)
        place(module, plan.config.gpu, plan.device)
        return module
    return LinearProbe(plan.encoders(network).network, dataset.classes).to(plan.device)


@dataclass(frozen=True)
class _Seen:
    """What K trainings of one computation left: losses, epochs (from 0) of the tests, and the answers `[K, N]` in each test."""

    losses: Losses
    looks: Sequence[int]
    answers: Sequence[Answers]

    def courses(self, test: ImageSet, classes: int) -> list[Course]:
        """The course of each training."""
        accuracies = [shares(torch.atleast_2d(each.predicted), test) for each in self.answers]
        counts = [confusion(test.answered, each, classes).cpu().numpy() for each in torch.atleast_2d(self.answers[-1].predicted)]
        curves = self.losses.curves()
        return [Course.of(curves[k], self.looks, [values[k] for values in accuracies], count) for k, count in enumerate(counts)]

    def top_k(self, position: int, k: int) -> dict[str, Any]:
        """The top-k accuracies of the training at a position, as `Training` has them; nothing where so few classes make each 1."""
        values = [told[position] for each in self.answers if (told := each.top_k_shares())]
        return {"top_k": k, "top_k_accuracy": values[-1], "best_top_k_accuracy": max(values)} if values else {}


def _alone(
    plan: Plan,
    module: Network,
    fresh: Sequence[torch.Generator],
    sets: Sequence[ImageSet],
    streams: Sequence[Streams],
    test: ImageSet,
    report: Callable[[int], None],
) -> _Seen:
    """One training, tested at its looks; `test` holds what is shown to a network, or features for the classifier of a linear probe."""
    asked: nn.Module = module
    if isinstance(module, LinearProbe):
        module.draw(fresh[0])
        asked = OnFeatures(module.classifier)
    else:
        initialize(module, fresh[0])
    looks, losses = look_epochs(plan.schedule.passes, len(sets[0]), len(test)), Losses()
    answered: list[Answers] = []
    for epoch in train(module, sets[0], plan.schedule, streams[0], plan.teacher, losses):
        if epoch in looks:
            answered.append(answers(asked, test, plan.config.top_k))
        report(epoch)
    return _Seen(losses, looks, answered)


def _together(
    plan: Plan,
    module: Network,
    fresh: Sequence[torch.Generator],
    sets: Sequence[ImageSet],
    streams: Sequence[Streams],
    test: ImageSet,
    report: Callable[[int], None],
) -> _Seen:
    """Several trainings in one computation, tested at their looks."""
    stacked = fresh_stack(module, fresh)
    looks, losses = look_epochs(plan.schedule.passes, len(sets[0]), len(test)), Losses()
    answered: list[Answers] = []
    for epoch in train_together(module, stacked, sets, plan.schedule, streams, plan.teacher, losses):
        if epoch in looks:
            answered.append(answers_of_all(module, stacked, test, plan.config.top_k))
        report(epoch)
    return _Seen(losses, looks, answered)
