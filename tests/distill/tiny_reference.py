"""The slow restatements of `benchmarks.references`, at the beginning of a run."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.references import REFERENCES, Reference
from bilp.config import METHODS, DistillConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import RunInputs, Setting
from bilp.experts.buffer import ExpertBuffer
from bilp.pruning.difficulty import Difficulty
from bilp.teachers.stored_teacher import StoredTeacher


def reference(
    config: DistillConfig,
    pool: RealPool,
    classes: range | None = None,
    experts: ExpertBuffer | None = None,
    dtype: torch.dtype = torch.float32,
    teacher: StoredTeacher | None = None,
    difficulty: Difficulty | None = None,
) -> Reference:
    """That of the method, on its own network. It trains pretrained networks itself, so none need exist."""
    bare = config
    if field := METHODS[config.method].pretrained:
        starting = getattr(config, field)
        without = starting.pretrained.model_copy(update={"networks": 0})
        bare = config.model_copy(update={field: starting.model_copy(update={"pretrained": without})})
    inputs = RunInputs(experts, teacher=teacher, difficulty=difficulty)
    setting = Setting.assemble(bare, ReselectConfig(beta=0.0), pool, "cpu", inputs, classes)
    state = initial_state(config, pool, classes, experts, difficulty=difficulty)
    state.images = state.images.to(dtype)
    return REFERENCES[config.method](replace(setting, config=config), state)
