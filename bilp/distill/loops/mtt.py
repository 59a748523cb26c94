"""The loop of MTT and TESLA: one comparison with an expert per iteration, one step of the images and of the step size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import METHODS, DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.iterations import Iterations, SharedStep, Step
from bilp.distill.step.divergence import PIXEL_LIMIT
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import Setting
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.experts.buffer import ExpertBuffer
from bilp.images import augment
from bilp.matching.trajectory import Gradient, TrainingStep, Trajectory, TrajectoryGradient
from bilp.progress import Progress, silent
from bilp.registry import resolve
from bilp.seeds import generator

STEP_SIZE, STEP_MOMENTUM = "step_size", "step_momentum"
"""What a state carries for these methods: the learned step size and the momentum of its SGD, float64 scalars."""


class TrajectoryIterations(Iterations):
    """Steps of the images and of the step size towards an expert; real samples act through `setting.inputs.experts` alone."""

    def prepare(self) -> None:
        """The optimizer of the images, and the step size of the beginning. Raises ConfigError without experts or with a pruner."""
        setting, state = self.setting, self.state
        if setting.inputs.experts is None or self.pruner is not None:
            raise ConfigError(
                f"method {setting.config.method} imitates experts and has no adaptive pruning: start the run with experts and beta = 0"
            )
        self.experts, self._shared = setting.inputs.experts, SharedStep(setting, state)
        if not state.method:
            state.method = self.begin()
        setting.network.train()
        make_gradient = resolve(METHODS[setting.config.method].parts["gradient"])
        self._gradient: Gradient = make_gradient(setting.network, setting.device)
        self._drawn: dict[int, tuple[Trajectory, list[TrainingStep]]] = {}
        self._stop = state.iteration

    def begin(self) -> dict[str, Tensor]:
        """What is carried into the first iteration."""
        step_size = torch.tensor(self.setting.config.trajectory.step_size, dtype=torch.float64, device=self.setting.device)
        return {STEP_SIZE: step_size, STEP_MOMENTUM: torch.zeros_like(step_size)}

    def advance(self, stop: int, progress: Progress = silent) -> list[Record]:
        """See Iterations; nothing is drawn for iterations beyond the last."""
        self._stop = stop
        return super().advance(stop, progress)

    def iteration(self, number: int) -> Iterator[Step]:
        """One comparison with an expert; its one step is of the images and of the step size."""
        found = self.compared(number, self.state.labels)
        self.take(found)
        self.draw_ahead(number)
        yield Step([self.checked_loss(number, found)], 0, 0.0, shared=True)
        self.check_learned(number)

    def check_learned(self, number: int) -> None:
        """Raise Diverged if what is learned beside the images cannot be used."""
        _check_step_size(number, self._step_size, self.setting.config.trajectory.step_rate)

    def compared(self, number: int, labels: Tensor) -> TrajectoryGradient:
        """The comparison of an iteration, with labels as in `Gradient`."""
        trajectory, steps = self._drawn.pop(number) if number in self._drawn else self._draw(number)
        return self._gradient(trajectory, self.state.images, labels, self.state.method[STEP_SIZE].float(), steps)

    def take(self, found: TrajectoryGradient) -> None:
        """A step of the images and of the step size."""
        state, settings = self.state, self.setting.config.trajectory
        self._shared.take(found.images)
        velocity = settings.step_momentum * state.method[STEP_MOMENTUM] + found.step_size
        state.method = {**state.method, STEP_SIZE: state.method[STEP_SIZE] - settings.step_rate * velocity, STEP_MOMENTUM: velocity}

    def draw_ahead(self, number: int) -> None:
        """Draw for the iteration after this one, as a device is busy until it is asked for something."""
        if self.setting.device.type != "cpu" and number + 1 < self._stop:
            self._drawn[number + 1] = self._draw(number + 1)

    def note(self, record: Record, steps: Sequence[Step]) -> str:
        """The learned step size tells whether the experts can be followed."""
        return f"{super().note(record, steps)}, step size {self._step_size:.3g}"

    def trajectory(self, number: int) -> Trajectory:
        """The piece of an expert that an iteration imitates."""
        return draw_trajectory(self.setting, self.experts, number)

    def _draw(self, number: int) -> tuple[Trajectory, list[TrainingStep]]:
        return self.trajectory(number), draw_steps(self.setting, len(self.state.images), number)

    def checked_loss(self, number: int, found: TrajectoryGradient) -> float:
        """The loss as a number, after the guard's rules; one transfer from the device serves them, the loss and the step size."""
        peaks = (found.images.abs().amax(), self.state.images.detach().abs().amax())
        told = torch.stack([value.double() for value in (found.loss, *peaks, self.state.method[STEP_SIZE])])
        loss, steepest, brightest, self._step_size = told.tolist()
        if not (math.isfinite(loss) and math.isfinite(steepest) and brightest <= PIXEL_LIMIT):
            self.guard.check_joint_step(number, found.loss, found.images, self.state.images)  # which raises, and knows the class
        return float(loss)


def step_size_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of what these methods carry (see `bilp.costs.run_files.Carries`), which depend on nothing.

    Args:
        config: settings of the distillation.
        parameters: of the network.
        values: these and its running statistics.
        iterations: that are done.
        images: shape of the synthetic images.
    """
    scalar: Form = (torch.float64, ())
    return {STEP_SIZE: scalar, STEP_MOMENTUM: scalar}


def require_step_size(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `state.method` is that of a run that imitates experts."""
    require_tensors(tensors, step_size_forms(config, 0, 0, 0, ()), where)
    if not float(tensors[STEP_SIZE]) > 0:
        raise DamagedArtifact(f"{where} holds a step size of {float(tensors[STEP_SIZE]):g}, which none is: run the round again")


def draw_trajectory(setting: Setting, experts: ExpertBuffer, iteration: int, starts: range | None = None) -> Trajectory:
    """An expert and an epoch of it, both uniform, of `starts` or of all up to `max_start`; the target is `expert_epochs` later."""
    settings, stream = setting.config.trajectory, generator(setting.config.seed, "trajectory", iteration)
    starts = range(settings.max_start + 1) if starts is None else starts
    expert = int(torch.randint(experts.count, (1,), generator=stream))
    start = starts[int(torch.randint(len(starts), (1,), generator=stream))]
    begin, end = (experts.parameters(expert, epoch, setting.device) for epoch in (start, start + settings.expert_epochs))
    return Trajectory(begin, end)


def draw_steps(
    setting: Setting, count: int, iteration: int, rows_of: Callable[[Tensor], Tensor] = lambda batch: batch
) -> list[TrainingStep]:
    """Mini-batches, shuffled anew whenever all had their turn, with fresh augmentation per image.

    `rows_of` says which synthetic images a mini-batch of the numbers below `count` stands for; by default those of the same numbers.
    """
    config = setting.config
    order = generator(config.seed, "trajectory_order", iteration)
    parameters = generator(config.seed, "trajectory_augment", iteration)
    waiting: list[Tensor] = []
    rows_of_steps, drawn = [], []
    for _ in range(config.trajectory.steps):
        if not waiting:
            waiting = list(torch.randperm(count, generator=order).split(config.trajectory.batch or count))
        rows = rows_of(waiting.pop(0))
        rows_of_steps.append(rows)
        drawn.append(augment.draw(config.augment, setting.side, parameters, count=len(rows)))
    return [TrainingStep(*step) for step in zip(*augment.send_with(rows_of_steps, drawn, setting.side, setting.device), strict=True)]


def _check_step_size(iteration: int, step_size: float, step_rate: float) -> None:
    if not (math.isfinite(step_size) and step_size > 0):
        raise Diverged(
            f"distillation diverged at iteration {iteration}: the learned step size became {step_size:.3g}; "
            f"lower distill.trajectory.step_rate, for example to {step_rate / 10:g}"
        )


distill = TrajectoryIterations.distill
