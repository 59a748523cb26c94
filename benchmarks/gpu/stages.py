"""Whole stages at the papers' settings, extrapolated from a part of each: an experiment, what effects add to it, a scoring."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, cast

from benchmarks.gpu.device import Machine, said
from benchmarks.gpu.iterations import CLASSES, SHAPE, advance, beginning, config_for
from benchmarks.step_settings import Noise
from bilp.config import DistillConfig, PipelineConfig, ReselectConfig, ScoreConfig
from bilp.data import Dataset
from bilp.distill.loops.registry import networks_for
from bilp.distill.step.divergence import Guard
from bilp.distill.step.reselection import reselect
from bilp.nets.arithmetic import arithmetic
from bilp.pruning.adaptive import AdaptivePruner
from bilp.scoring.loss_curves import train_trial

EXPERIMENTS = (("dm", 10), ("dc", 1), ("dc", 10))
NETWORKS = 10
"""Trials of the scoring that is extrapolated to."""


def experiments(machine: Machine) -> dict[str, Any]:
    """Milliseconds of an iteration and of one reselection of all classes, and what follows: minutes of all iterations, and the share of
    them that reselections add with the default of one a round.
    """
    rows = {}
    for method, ipc in machine.pick(EXPERIMENTS[:1], EXPERIMENTS):
        config = config_for(method, ipc, machine.pick(16, 128), machine.pick(16, 256), {"gpu": "tf32"})
        iteration = timed_iteration(machine, config)
        effects = machine.milliseconds(reselection(machine, config), 3, 1)
        minutes = config.iterations * iteration / 60e3
        whole = PipelineConfig(dataset="cifar10", method=cast(Any, method), ipc=ipc).distill
        share = whole.rounds * effects / (config.iterations * iteration)
        row = {"iteration ms": iteration, "reselection ms": effects, "minutes": minutes, "effects add": share}
        rows[f"{method} ipc {ipc}"] = said(f"{method} ipc {ipc}", row)
    return rows


def timed_iteration(machine: Machine, config: DistillConfig) -> float:
    """Milliseconds of one iteration, of all its image steps and inner epochs."""
    setting, state = beginning(config, machine.device)
    short = config.outer_loops == 1

    def one() -> None:
        advance(setting, state)
        state.iteration += 1

    return machine.milliseconds(one, 10 if short else 2, 3 if short else 1)


def reselection(machine: Machine, config: DistillConfig) -> Callable[[], object]:
    """What a round begins with: the effects of a pool of each class, on a network as the method's image steps meet them."""
    setting, state = beginning(config, machine.device, 300)
    settings = ReselectConfig(candidates_per_class=machine.pick(16, 256))
    setting = type(setting).assemble(config, settings, setting.pool, machine.device, None)
    labels = setting.pool.dataset.train.labels
    guard = Guard(config.learning_rate, setting.pool.dataset.class_names, math.nan, "")

    def measured() -> object:
        with arithmetic(config.gpu, machine.device):
            pruner = AdaptivePruner(labels, CLASSES, settings)
            return reselect(setting, state, 1, pruner, guard, lambda *_: None, networks_for(config.method))

    return measured


def scoring(machine: Machine) -> dict[str, Any]:
    """Seconds of a trial of as many images as CIFAR-10 has, with and without what is done once, and of NETWORKS trials."""
    values = PipelineConfig(dataset="cifar10").score.model_dump() | {"gpu": "tf32"}
    values["network"]["width"] = machine.pick(16, 128)
    config = ScoreConfig.model_validate(values | machine.pick({"epochs": 2, "init_epochs": 2, "converge_epochs": 1, "early_to": 2}, {}))
    images = cast(Dataset, Noise(CLASSES, machine.pick(32, 5000), SHAPE))
    seconds = []
    for trial in range(2):  # the first one also loads kernels
        machine.wait()
        start = time.perf_counter()
        train_trial(images, config, trial, str(machine.device))
        machine.wait()
        seconds.append(time.perf_counter() - start)
    row = {"epochs": config.epochs, "first trial s": seconds[0], "trial s": seconds[1], f"{NETWORKS} trials s": NETWORKS * seconds[1]}
    return {f"{len(images.train)} images": said(f"{len(images.train)} images", row)}
