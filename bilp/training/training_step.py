"""One step of K networks, each on a mini-batch of its own: forward pass, loss, backward pass, optimizer. A GPU replays it as a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bilp.errors import ConfigError
from bilp.training.objective import Mixed, centered_labels, hard_loss, soft_loss, squared_loss
from bilp.training.replayed import Replayed
from bilp.training.training_schedule import Schedule

Forward = Callable[[Tensor], Tensor]
"""Images `[K, B, ...]` to logits `[K, B, classes]`."""


class TrainingStep:
    """The step of an evaluation's training; `optimizer` is that of the epoch."""

    def __init__(
        self, forward: Forward, parameters: Sequence[Tensor], schedule: Schedule, teacher: nn.Module | None, *, stacked: bool = False
    ) -> None:
        """Nothing is done yet.

        Args:
            forward: Of the networks.
            parameters: What `forward` depends on and the optimizer changes.
            schedule: Which optimizer, and which loss.
            teacher: In eval mode; not needed for hard labels.
            stacked: Whether each parameter is that of several networks, `[K, ...]`.
        """
        self._forward, self._parameters, self._schedule, self._teacher = forward, parameters, schedule, teacher
        self._stacked = stacked
        self._optimizer: torch.optim.Optimizer | None = None
        self._step: Callable[..., tuple[Tensor, ...]] = Replayed(self._trained, parameters[0].device)

    def draws(self) -> None:
        """The networks draw random numbers in their forward pass, which a GPU cannot record: it is told each operation anew."""
        self._step = self._trained

    def begin(self, epoch: int) -> None:
        """An epoch begins: its step size, or an optimizer that starts anew."""
        self._optimizer = self._schedule.optimizer_for(epoch, self._parameters, self._optimizer, stacked=self._stacked)

    def __call__(self, images: Tensor, labels: Tensor, mixed: Mixed | None, told: Tensor | None) -> Tensor:
        """Losses `[K]` before the step, detached; the next call may overwrite them.

        Args:
            images: `[K, B, ...]`, as the networks see them.
            labels: `[K, B]`, the sets' own.
            mixed: What CutMix did to the labels.
            told: What the teacher said of the images as they are, or values that were learned with them, `[K, B, classes]`, where labels
                are that.
        """
        mix = (None, None) if mixed is None else (mixed.shares, mixed.partners)
        (losses,) = self._step(images, labels, *mix, told)
        return losses

    def _trained(
        self, images: Tensor, labels: Tensor, shares: Tensor | None, partners: Tensor | None, told: Tensor | None
    ) -> tuple[Tensor]:
        assert self._optimizer is not None
        mixed = None if shares is None or partners is None else Mixed(shares, partners)
        losses = self._losses(self._forward(images), images, labels, mixed, told)
        self._optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self._optimizer.step()
        return (losses.detach(),)

    def _losses(self, logits: Tensor, images: Tensor, labels: Tensor, mixed: Mixed | None, told: Tensor | None) -> Tensor:
        schedule = self._schedule
        if schedule.regressed:
            return squared_loss(logits, centered_labels(labels, logits.shape[-1]) if told is None else told, mixed)
        if schedule.temperature is None:
            return hard_loss(logits, labels, mixed)
        if told is not None:
            return soft_loss(logits, told, schedule.temperature, mixed, schedule.temperature_squared)
        with torch.no_grad():
            said = required(self._teacher)(images.flatten(0, 1)).view(logits.shape)
        return soft_loss(logits, said, schedule.temperature, squared=schedule.temperature_squared)


def required(teacher: nn.Module | None) -> nn.Module:
    """The teacher. Raises ConfigError if there is none."""
    if teacher is None:
        raise ConfigError("soft labels need a teacher: train one, or set evaluate.labels to hard")
    return teacher
