"""The loop of HaBa (Liu et al. 2022, algorithm 1): MTT for images that hallucinators make of bases, and a contrast of these images.

In each training step all images of a mini-batch of bases are made by one hallucinator, drawn for the step. The gradient with respect to
the images is that of MTT (`bilp.distill.loops.mtt`), plus that of how alike the images of two hallucinators are to an extractor of
features (`bilp.matching.contrast`); it goes on to bases and hallucinators (`bilp.distill.step.hallucinators`). After their step, and
that of the learned step size, the extractor takes one. With one hallucinator there are no pairs, so neither contrast nor extractor.

The extractor has the architecture of `distill.network`, where the program's is always the ConvNet of three blocks. The mini-batches of
the contrast are drawn on their own, where the program goes on in the order of its training steps, which is the same by law.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.iterations import Step
from bilp.distill.loops.mtt import (
    STEP_MOMENTUM,
    STEP_SIZE,
    TrajectoryIterations,
    draw_steps,
    draw_trajectory,
    require_step_size,
    step_size_forms,
)
from bilp.distill.step.hallucinators import EXTRACTOR, VELOCITY, Hallucinations, factor_forms
from bilp.distill.step.setting import Setting
from bilp.images import augment
from bilp.matching.contrast import Extractor, likeness, supervised_contrast
from bilp.matching.trajectory import TrainingStep, Trajectory, TrajectoryGradient
from bilp.nets import build, initialize
from bilp.seeds import generator

EXTRACTOR_MOMENTUM = 0.9


class HallucinatorIterations(TrajectoryIterations):
    """Steps of bases, hallucinators, the step size and the extractor."""

    def prepare(self) -> None:
        """As MTT; without any, bases, hallucinators and the extractor begin."""
        setting, state = self.setting, self.state
        begins = not state.method
        super().prepare()
        self._made = Hallucinations(setting.config, state)
        self._extractor = Extractor(setting.network)
        if begins:
            initialize(setting.network, generator(setting.config.seed, "initial_extractor"))
            flat = torch.cat([parameter.detach().flatten() for parameter in setting.network.parameters()])
            state.method |= {EXTRACTOR: flat, EXTRACTOR + VELOCITY: torch.zeros_like(flat)}

    def iteration(self, number: int) -> Iterator[Step]:
        """One comparison with an expert, and its steps."""
        config, state = self.setting.config, self.state
        step_size = state.method[STEP_SIZE]
        trajectory, steps = self._drawn.pop(number) if number in self._drawn else self._draw(number)
        found = self._gradient(trajectory, state.images, state.labels, step_size.float(), steps)
        contrasts = config.hallucinators.contrast > 0.0 and config.hallucinators.count > 1
        if contrasts:
            alike, of_images = self._alike(number)
            found = TrajectoryGradient(found.loss + alike, found.images + of_images, found.step_size)
        self._made.step(found.images)
        velocity = config.hallucinators.step_momentum * state.method[STEP_MOMENTUM] + found.step_size
        moved = (step_size - config.trajectory.step_rate * velocity).clamp_min(config.hallucinators.least_step)
        state.method |= {STEP_SIZE: moved, STEP_MOMENTUM: velocity}
        if contrasts:
            self._train_extractor(number)
        yield Step([self.checked_loss(number, found)], 0, 0.0, shared=True)

    def _draw(self, number: int) -> tuple[Trajectory, list[TrainingStep]]:
        return draw_trajectory(self.setting, self.experts, number), draw_base_steps(self.setting, len(self.state.images), number)

    def _alike(self, number: int) -> tuple[Tensor, Tensor]:
        """How alike the images of two hallucinators are, weighted, a scalar, and its gradient with respect to all images; detached."""
        images, weights = self.state.images, self._weights()
        pairs = draw_pairs(self.setting, len(images), "contrast", number)
        points = images.detach()[pairs.rows].requires_grad_()
        with torch.enable_grad():
            _, features = functional_call(self._extractor, weights, (augment.apply(points, pairs.params),))
            loss = self.setting.config.hallucinators.contrast * likeness(features)
        total = torch.zeros_like(images)
        total[pairs.rows] = torch.autograd.grad(loss, points)[0]
        return loss.detach(), total

    def _train_extractor(self, number: int) -> None:
        """A step of SGD of the extractor on pairs of images as they are now."""
        own, state = self.setting.config.hallucinators, self.state
        pairs = draw_pairs(self.setting, len(state.images), "extractor", number)
        weights, labels = {name: value.requires_grad_() for name, value in self._weights().items()}, state.labels[pairs.rows]
        with torch.enable_grad():
            logits, features = functional_call(self._extractor, weights, (augment.apply(state.images[pairs.rows], pairs.params),))
            loss = own.classification * functional.cross_entropy(logits, labels) + own.likeness * (1.0 - likeness(features))
            loss = loss + own.supervision * supervised_contrast(features, labels)
        found = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        velocity = state.method[EXTRACTOR + VELOCITY].mul_(EXTRACTOR_MOMENTUM).add_(torch.cat([part.flatten() for part in found]))
        state.method[EXTRACTOR].sub_(own.extractor_learning_rate * velocity)

    def _weights(self) -> dict[str, Tensor]:
        """The extractor's parameters by name."""
        named = dict(self._extractor.named_parameters())
        parts = self.state.method[EXTRACTOR].split([value.numel() for value in named.values()])
        return {name: part.detach().clone().view_as(value) for (name, value), part in zip(named.items(), parts, strict=True)}


def carried_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of what the method carries (see `bilp.costs.run_files.Carries`).

    Args:
        config: settings of the run.
        parameters: of the network, and so of the extractor.
        values: these and its statistics, which count for nothing here, and neither do
        iterations: that are done.
        images: shape of the synthetic images.
    """
    return factor_forms(config, parameters, images) | step_size_forms(config, parameters, values, iterations, images)


def require_carried(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `tensors` are bases, hallucinators, an extractor and a step size as the run has
    them."""
    network = build(config.network, pool.dataset.shape, pool.classes)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    forms = factor_forms(config, parameters, (pool.classes * config.ipc, *pool.dataset.shape))
    require_tensors({name: value for name, value in tensors.items() if name in forms}, forms, where)
    require_step_size({name: value for name, value in tensors.items() if name not in forms}, config, pool, where)


def draw_base_steps(setting: Setting, images: int, iteration: int) -> list[TrainingStep]:
    """Mini-batches of bases, shuffled anew whenever all had their turn, each made by one hallucinator, with fresh augmentation per
    image."""
    count, choice = setting.config.hallucinators.count, generator(setting.config.seed, "trajectory_hallucinator", iteration)

    def made(bases: Tensor) -> Tensor:
        return bases * count + int(torch.randint(count, (1,), generator=choice))

    return draw_steps(setting, images // count, iteration, made)


def draw_pairs(setting: Setting, images: int, name: str, iteration: int) -> TrainingStep:
    """A mini-batch of bases, made by one hallucinator and then by another, with fresh augmentation per image."""
    config, count, stream = setting.config, setting.config.hallucinators.count, generator(setting.config.seed, name, iteration)
    bases = torch.randperm(images // count, generator=stream)[: config.trajectory.batch]
    first, second = torch.randperm(count, generator=stream)[:2].tolist()
    rows = torch.cat([bases * count + first, bases * count + second])
    params = augment.draw(config.augment, setting.side, stream, count=len(rows))
    (sent,), (own,) = augment.send_with([rows], [params], setting.side, setting.device)
    return TrainingStep(sent, own)


distill = HallucinatorIterations.distill
