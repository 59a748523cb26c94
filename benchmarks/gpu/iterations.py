"""Iterations of every method on random images in the shape of CIFAR-10, on any device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.step_settings import Noise, beforehand, teacher_for
from bilp.config import DistillConfig, PipelineConfig, ReselectConfig
from bilp.data import Dataset
from bilp.data.pool import RealPool
from bilp.distill.loops.registry import loop_for
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState
from bilp.nets.arithmetic import arithmetic
from bilp.progress import Progress, silent
from bilp.pruning.difficulty import Difficulty

SHAPE = (3, 32, 32)
CLASSES = 10
# What one iteration of a method repeats most often, made short: the kinds of operations are those of a whole one.
SHORT: dict[str, dict[str, Any]] = {
    **{name: {"outer_loops": 2, "idc": {"train_samples": 256, "early_epochs": 1}} for name in ("idc", "dream")},
    "idm": {"idm": {"train_steps": 2, "networks": 2, "trained": 2}},
    "cafe": {"alignment": {"most_steps": 2, "most_epochs": 2, "watched": 2}},
    "lgm": {"idc": {"cutmix": 0.0, "pretrained": {"networks": 0, "epochs": 5, "learning_rate": 0.1}}, "linear": {"copies": 2}},
    **{name: {"trajectory": {"steps": 4}} for name in ("mtt", "tesla", "datm", "pad")},
    # Experts that learned nothing lead anywhere, and all pixels move a hallucinator.
    "haba": {"trajectory": {"steps": 4}, "hallucinators": {"learning_rate": 0.01}},
    "ncfm": {"characteristic": {"frequencies": 64}},
    "linba": {"memories": {"steps": 2}},
    "selmatch": {"trajectory": {"steps": 4, "step_rate": 0.0}},
    "frepo": {"regression": {"networks": 2}},
    "rfad": {"random_features": {"networks": 2, "transform_rate": 0.0}},
}


def config_for(method: str, ipc: int, width: int, batch: int | None = None, changes: dict[str, Any] | None = None) -> DistillConfig:
    """The papers' settings for CIFAR-10 with a network of another width, and `changes`, nested as the settings are."""
    values = PipelineConfig(dataset="cifar10", method=cast(Any, method), ipc=ipc).distill.model_dump() | {"rounds": 1}
    values["network"]["width"] = width
    if batch is not None:
        values["batch_real"] = batch
    for name, value in (changes or {}).items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    return DistillConfig.model_validate(values)


def beginning(config: DistillConfig, device: torch.device, per_class: int | None = None) -> tuple[Setting, DistillState]:
    """What stays fixed, and the state before the first iteration, on the device."""
    least = max(config.batch_real, config.ipc * config.decode.factor**2, 64)
    pool = RealPool(cast(Dataset, Noise(CLASSES, per_class or least, SHAPE)))
    experts, networks = beforehand(config, pool.dataset)
    teacher = teacher_for(config)
    even = Difficulty(torch.zeros(len(pool.dataset.train), dtype=torch.float64), high_is_hard=True)  # which no time depends on
    inputs = RunInputs(experts, networks, teacher, difficulty=even)
    setting = Setting.assemble(config, ReselectConfig(beta=0.0), pool, device, inputs)
    return setting, initial_state(config, pool, experts=experts, device=device, difficulty=even).to(device)


def advance(setting: Setting, state: DistillState, number: int = 1, progress: Progress = silent) -> None:
    """So many iterations, in place and in one call, as in a round: on a GPU what is repeated often enough becomes graphs."""
    guard = Guard(setting.config.learning_rate, setting.pool.dataset.class_names, math.nan, "")
    with arithmetic(setting.config.gpu, setting.device):
        loop_for(setting.config.method)(setting, state, state.iteration + number, None, guard, progress)


def images_of(config: DistillConfig, device: torch.device, per_class: int | None = None) -> Iterator[Tensor]:
    """The synthetic images before the first iteration and after each one, `[classes * ipc, C, H, W]`."""
    setting, state = beginning(config, device, per_class)
    yield state.images.detach().clone()
    while True:
        advance(setting, state)
        yield state.images.detach()
