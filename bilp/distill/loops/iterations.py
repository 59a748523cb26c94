"""The frame of every method's loop: it counts, checks and records the iterations, and a method says what one of them does.

A method is a subclass of `Iterations` with `iteration`, and its module offers `distill = TheSubclass.distill`.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.distill.step.batch import Batch, Target, sent
from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.real import decided_targets, deciding_step, draw_batches, targets
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DISTILLED, DistillState
from bilp.progress import Progress, silent
from bilp.pruning.adaptive import AdaptivePruner


@dataclass(frozen=True)
class Step:
    """One image step, checked by the guard."""

    losses: list[float]
    """Of every class of `setting.classes` in their order, or the single one that all of them share."""
    real_used: int
    """Real samples that entered the means."""
    withheld: float
    """Share of samples that adaptive pruning kept away."""
    shared: bool = False
    """Whether there is one loss for all classes."""


class Iterations(ABC):
    """Iterations of one method on a state, which they advance in place, and the pruner with it.

    The images of the state are always those of the last image step. What else a method must remember from one iteration to the
    next lies in `state.method`; what a subclass holds in attributes can be made from its arguments anew.
    """

    progress_steps: int | None = None
    """Image steps of one iteration, if progress counts these instead of iterations."""

    def __init__(self, setting: Setting, state: DistillState, pruner: AdaptivePruner | None, guard: Guard) -> None:
        """Begin, or go on, where `state` stands; the arguments are those of `distill`."""
        self.setting, self.state, self.pruner, self.guard = setting, state, pruner, guard
        self.prepare()

    @classmethod
    def distill(
        cls,
        setting: Setting,
        state: DistillState,
        stop: int,
        pruner: AdaptivePruner | None,
        guard: Guard,
        progress: Progress = silent,
    ) -> list[Record]:
        """Advance `state` in place from `state.iteration` to `stop`, and `pruner` with it; one record per iteration.

        The result depends on `setting`, `state` and `pruner` alone: cut anywhere between iterations and continued, it arrives at
        the same bytes. Nothing is written. Raises Diverged.

        Args:
            setting: what stays fixed.
            state: the state to advance; its tensors lie on the setting's device.
            stop: the iteration before which to stop.
            pruner: what adaptive pruning decided so far, or None without it.
            guard: what raises Diverged.
            progress: told after every iteration, or after every image step.
        """
        return cls(setting, state, pruner, guard).advance(stop, progress)

    @abstractmethod
    def prepare(self) -> None:
        """Make, once, what all iterations need."""

    @abstractmethod
    def iteration(self, number: int) -> Iterator[Step]:
        """Iteration `number`, from its first image step to what follows its last; it goes on when it is asked for the next step."""

    def note(self, record: Record, steps: Sequence[Step]) -> str:
        """What progress says of a finished iteration."""
        return f"loss {record.loss:.4g}"

    def advance(self, stop: int, progress: Progress = silent) -> list[Record]:
        """See `distill`."""
        first, records = self.state.iteration, []
        for number in range(first, stop):
            steps: list[Step] = []
            for step in self.iteration(number):
                steps.append(step)
                if (each := self.progress_steps) is not None:
                    progress((number - first) * each + len(steps), (stop - first) * each, f"loss {statistics.fmean(step.losses):.4g}")
            records.append(self._checked(number, steps))
            self.state.iteration = number + 1
            if self.progress_steps is None:
                progress(number + 1 - first, stop - first, self.note(records[-1], steps))
        return records

    def targets(
        self, number: int, step: int, *, by_class: bool = False, drawn: Callable[[], Sequence[Batch]] | None = None
    ) -> Iterator[Target]:
        """What the classes are matched to in image step `step` of iteration `number`, each asked for when its turn comes.

        Args:
            number: the iteration.
            step: the image step within it.
            by_class: whether a step that reselects measures each class on the images as they are when its turn comes.
            drawn: the batches of a step that does not reselect; without it `draw_batches`.
        """
        if self.reselects(number, step):
            assert self.pruner is not None
            return decided_targets(self.setting, self.state.images, self.pruner, self.guard, (number, step), by_class=by_class)
        batches = draw_batches(self.setting, self.pruner, number, step) if drawn is None else drawn()
        return targets(self.setting, sent(self.setting, batches))

    def joint_batches(self, number: int, step: int = 0) -> Sequence[Batch]:
        """One batch of each class for an image step that all classes share, in which their means are not matched one by one."""
        if self.reselects(number, step):
            return [target.batch for target in self.targets(number, step)]
        return draw_batches(self.setting, self.pruner, number, step)

    def joint_step(self, number: int, loss: Tensor, gradient: Tensor, batches: Sequence[Batch]) -> Step:
        """The step of a loss of all classes and the gradient with respect to the state's images, on these batches; raises Diverged."""
        value = self.guard.check_joint_step(number, loss, gradient, self.state.images)
        withheld = statistics.fmean(batch.withheld for batch in batches)
        return Step([value], sum(len(batch.ids) for batch in batches), withheld, shared=True)

    def reselects(self, number: int, step: int) -> bool:
        """Whether this image step decides anew which samples to keep away."""
        return self.pruner is not None and step == deciding_step(self.setting, number)

    def _checked(self, number: int, steps: Sequence[Step]) -> Record:
        """The record of an iteration: means over image steps, and over classes. Raises Diverged."""
        by_class = [statistics.fmean(values) for values in zip(*(step.losses for step in steps), strict=True)]
        loss = statistics.fmean(by_class)
        self.guard.check_loss(number, loss, [] if steps[0].shared else by_class)
        return Record(number, loss, sum(step.real_used for step in steps), statistics.fmean(step.withheld for step in steps))


class SharedStep:
    """SGD with momentum on all synthetic images `[classes * ipc, C, H, W]` at once, which moves those of a state in place.

    Those of a real part stay as they are, to the bit, whatever their gradient is.
    """

    def __init__(self, setting: Setting, state: DistillState) -> None:
        self.images = state.images.detach().requires_grad_()
        self._optimizer = torch.optim.SGD([self.images], lr=setting.config.learning_rate, momentum=setting.config.momentum)
        self._optimizer.state[self.images]["momentum_buffer"] = state.momentum
        self._moves: Tensor | None = None
        if state.real is not None:
            self._moves = (state.real == DISTILLED).to(self.images.device).view(-1, *[1] * (self.images.dim() - 1))

    def take(self, gradient: Tensor, learning_rate: float | None = None) -> None:
        """One step on the gradient with respect to the images, of the run's step size unless another is given."""
        if learning_rate is not None:
            self._optimizer.param_groups[0]["lr"] = learning_rate
        self.images.grad = gradient if self._moves is None else torch.where(self._moves, gradient, 0.0)
        self._optimizer.step()
