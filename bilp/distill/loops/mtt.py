"""The loop of MTT and TESLA: one comparison with an expert per iteration, one step of the images and of the step size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import METHODS, DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.experts.buffer import ExpertBuffer
from bilp.images import augment
from bilp.matching.trajectory import TrainingStep, Trajectory
from bilp.progress import Progress, silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.registry import resolve
from bilp.seeds import generator

STEP_SIZE, STEP_MOMENTUM = "step_size", "step_momentum"
"""What a state carries for these methods: the learned step size and the momentum of its SGD, float64 scalars."""


def distill(
    setting: Setting,
    state: DistillState,
    stop: int,
    pruner: AdaptivePruner | None,
    guard: Guard,
    progress: Progress = silent,
) -> list[Record]:
    """See Advance. Real samples act through `setting.experts` alone; they are read, and `pruner` must be None.

    Raises Diverged, and ConfigError without experts or with a pruner.
    """
    if setting.experts is None or pruner is not None:
        raise ConfigError(
            f"method {setting.config.method} imitates experts and has no adaptive pruning: start the run with experts and beta = 0"
        )
    config, settings = setting.config, setting.config.trajectory
    find_gradient = resolve(METHODS[config.method].parts["gradient"])
    leaf = state.images.detach().requires_grad_()
    optimiser = torch.optim.SGD([leaf], lr=config.learning_rate, momentum=config.momentum)
    optimiser.state[leaf]["momentum_buffer"] = state.momentum
    step_size = state.method.get(STEP_SIZE, torch.tensor(settings.step_size, dtype=torch.float64, device=setting.device))
    velocity = state.method.get(STEP_MOMENTUM, torch.zeros_like(step_size))
    setting.network.train()
    first, records = state.iteration, []
    for iteration in range(first, stop):
        trajectory = draw_trajectory(setting, setting.experts, iteration)
        steps = draw_steps(setting, len(leaf), iteration)
        found = find_gradient(setting.network, trajectory, leaf, state.labels, step_size.float(), steps)
        leaf.grad = found.images
        optimiser.step()
        velocity = settings.step_momentum * velocity + found.step_size
        step_size = step_size - settings.step_rate * velocity
        loss = guard.check_joint_step(iteration, found.loss, found.images, leaf)
        guard.check_loss(iteration, loss, [])
        _check_step_size(iteration, float(step_size), settings.step_rate)
        records.append(Record(iteration, loss, 0, 0.0))
        state.iteration = iteration + 1
        progress(state.iteration - first, stop - first, f"loss {loss:.4g}, step size {float(step_size):.3g}")
    state.images = leaf.detach()
    state.method = {STEP_SIZE: step_size, STEP_MOMENTUM: velocity}
    return records


def require_step_size(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `state.method` is that of a run that imitates experts."""
    scalar: Form = (torch.float64, ())
    require_tensors(tensors, {STEP_SIZE: scalar, STEP_MOMENTUM: scalar}, where)
    if not float(tensors[STEP_SIZE]) > 0:
        raise DamagedArtifact(f"{where} holds a step size of {float(tensors[STEP_SIZE]):g}, which none is: run the round again")


def draw_trajectory(setting: Setting, experts: ExpertBuffer, iteration: int) -> Trajectory:
    """An expert and an epoch of it, both uniform; the target is `expert_epochs` later."""
    settings, stream = setting.config.trajectory, generator(setting.config.seed, "trajectory", iteration)
    expert = int(torch.randint(experts.count, (1,), generator=stream))
    start = int(torch.randint(settings.max_start + 1, (1,), generator=stream))
    ends = (experts.parameters(expert, epoch, setting.device) for epoch in (start, start + settings.expert_epochs))
    return Trajectory(*ends)


def draw_steps(setting: Setting, images: int, iteration: int) -> list[TrainingStep]:
    """Mini-batches of the synthetic images, shuffled anew whenever all had their turn, with fresh augmentation per image."""
    config = setting.config
    order = generator(config.seed, "trajectory_order", iteration)
    parameters = generator(config.seed, "trajectory_augment", iteration)
    waiting: list[Tensor] = []
    steps = []
    for _ in range(config.trajectory.steps):
        if not waiting:
            waiting = list(torch.randperm(images, generator=order).split(config.trajectory.batch or images))
        rows = waiting.pop(0)
        params = augment.draw(config.augment, setting.side, parameters, count=len(rows))
        steps.append(TrainingStep(rows.to(setting.device), params))
    return steps


def _check_step_size(iteration: int, step_size: float, step_rate: float) -> None:
    if not (math.isfinite(step_size) and step_size > 0):
        raise Diverged(
            f"distillation diverged at iteration {iteration}: the learned step size became {step_size:.3g}; "
            f"lower distill.trajectory.step_rate, for example to {step_rate / 10:g}"
        )
