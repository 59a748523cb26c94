"""Whole stages at the papers' settings, extrapolated from a part of each: an experiment, what effects add to it, a scoring."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, cast

from benchmarks.gpu.clocked import milliseconds_each
from benchmarks.gpu.device import Machine, rows, said
from benchmarks.gpu.iterations import CLASSES, SHAPE, beginning, config_for
from benchmarks.step_settings import Noise
from bilp.config import DistillConfig, PipelineConfig, ReselectConfig, ScoreConfig
from bilp.config.arithmetics import PAPERS
from bilp.data import Dataset
from bilp.distill.loops.registry import networks_for
from bilp.distill.step.divergence import Guard
from bilp.distill.step.reselection import reselect
from bilp.nets.arithmetic import arithmetic
from bilp.pruning.adaptive import AdaptivePruner
from bilp.scoring.loss_curves import train_trial

EXPERIMENTS = ("dc ipc 10", "dm ipc 10", "dc ipc 1")
NETWORKS = 10
"""Trials of the scoring that is extrapolated to."""


def experiments(machine: Machine) -> dict[str, Any]:
    """Milliseconds of an iteration and of one reselection of all classes, and what follows: minutes of all iterations, and the share of
    them that reselections add with the default of one a round.
    """

    def one(name: str) -> dict[str, Any]:
        method, ipc = name.split(" ipc ")
        config = config_for(method, int(ipc), machine.pick(16, 128), machine.pick(16, 256), {"gpu": PAPERS})
        iteration = milliseconds_each(machine, *beginning(config, machine.device))
        effects = machine.milliseconds(reselection(machine, config), 3, 1)
        whole = PipelineConfig(dataset="cifar10", method=cast(Any, method), ipc=int(ipc)).distill
        spent = config.iterations * iteration
        return {
            "iteration ms": iteration,
            "reselection ms": effects,
            "minutes": spent / 60e3,
            "effects add": whole.rounds * effects / spent,
        }

    return rows(machine, machine.pick(EXPERIMENTS[1:2], EXPERIMENTS), one)


def reselection(machine: Machine, config: DistillConfig) -> Callable[[], object]:
    """What a round begins with: the effects of a pool of each class, on a network as the method's image steps meet them."""
    setting, state = beginning(config, machine.device, 300)
    settings = ReselectConfig(candidates_per_class=machine.pick(16, 256))
    setting = type(setting).assemble(config, settings, setting.pool, machine.device)
    labels = setting.pool.dataset.train.labels
    guard = Guard(config.learning_rate, setting.pool.dataset.class_names, math.nan, "")

    def measured() -> object:
        with arithmetic(config.gpu, machine.device):
            pruner = AdaptivePruner(labels, CLASSES, settings)
            return reselect(setting, state, 1, pruner, guard, lambda *_: None, networks_for(config.method))

    return measured


def scoring(machine: Machine) -> dict[str, Any]:
    """Seconds of a trial of as many images as CIFAR-10 has, with and without what is done once, and of NETWORKS trials."""
    values = PipelineConfig(dataset="cifar10").score.model_dump() | {"gpu": PAPERS}
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
