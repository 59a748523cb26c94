"""How a network is trained: optimizer, course of the step size, augmentation, labels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from bilp.config import EvaluateConfig, TeacherConfig
from bilp.config.augmentations import ImageOperation
from bilp.config.labels import LABELS
from bilp.training.optimizers import forget, keep_in_place, set_rate, stays_in_place

# A product such as 2/3 * 1000 may end just below a whole number.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Schedule:
    """Training in shuffled mini-batches. Fields as in `EvaluateConfig`; `temperature` is None for hard labels."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    augment: tuple[str, ...] = ()
    augment_always: tuple[str, ...] = ()
    cutmix: float = 0.0
    optimizer: str = "sgd"
    decay: str = "half"
    milestones: tuple[float, ...] = ()
    decay_factor: float = 0.1
    temperature: float | None = None
    augment_each: tuple[ImageOperation, ...] = ()
    augment_after: tuple[str, ...] = ()
    fixed_labels: bool = False
    temperature_squared: bool = False
    decay_smoothing: float = 1.0
    decay_vectors: bool = True
    standardize: bool = False
    regressed: bool = False

    @classmethod
    def of_config(cls, config: EvaluateConfig, epochs: int) -> Self:
        """The settings of `config`, for `epochs` epochs."""
        return cls(
            epochs=epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            augment=tuple(config.augment),
            augment_always=tuple(config.augment_always),
            cutmix=config.cutmix,
            augment_each=tuple(config.augment_each),
            augment_after=tuple(config.augment_after),
            optimizer=config.optimizer,
            decay=config.decay,
            milestones=tuple(config.milestones),
            decay_factor=config.decay_factor,
            temperature=config.temperature if config.soft else None,
            fixed_labels=LABELS[config.labels].fixed,
            temperature_squared=config.soft and config.temperature_squared,
            decay_smoothing=config.decay_smoothing,
            decay_vectors=config.decay_vectors,
            standardize=config.standardize == "batch",
            regressed=LABELS[config.labels].regressed,
        )

    @classmethod
    def of_teacher(cls, config: TeacherConfig) -> Self:
        """The course of the DC family on real data."""
        rates = (config.learning_rate, config.momentum, config.weight_decay)
        return cls(config.epochs, config.batch_size, *rates, augment=tuple(config.augment))

    @property
    def passes(self) -> int:
        """Passes over the set. The DC family counts epochs from 0 to `epochs`, both included; the others make `epochs`."""
        return self.epochs + 1 if self.decay == "half" else self.epochs

    def rate(self, epoch: int) -> float:
        """Step size during an epoch (0, 1, ...)."""
        if self.decay == "half":
            return self.learning_rate * (self.decay_factor if epoch > self._middle else 1.0)
        if self.decay == "steps":
            passed = sum(epoch >= math.floor(part * self.epochs + ROUNDING) for part in self.milestones)
            return self.learning_rate * self.decay_factor**passed
        if self.decay == "cosine":
            return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * epoch / self.epochs / self.decay_smoothing))
        return self.learning_rate

    def restarts(self, epoch: int) -> bool:
        """Whether a new optimizer, without momentum, takes over before an epoch."""
        return epoch == 0 or (self.decay == "half" and epoch == self._middle + 1)

    def new_optimizer(self, parameters: Iterable[Tensor], epoch: int, stacked: bool = False) -> torch.optim.Optimizer:
        """The optimizer that takes over before an epoch; `stacked` parameters are those of several networks, `[K, ...]`."""
        held = list(parameters)
        cuda = held[0].device.type == "cuda"
        rate, groups = self.rate(epoch), self._groups(held, 2 if stacked else 1)
        made: torch.optim.Optimizer
        if self.optimizer == "adamw":
            made = torch.optim.AdamW(groups, lr=rate, weight_decay=self.weight_decay, fused=True, capturable=cuda)
        else:
            made = torch.optim.SGD(groups, lr=rate, momentum=self.momentum, weight_decay=self.weight_decay, fused=True)
        if cuda:
            keep_in_place(made, held[0].device)
        return made

    def _groups(self, parameters: Iterable[Tensor], vector: int) -> Any:
        """The parameters as an optimizer takes them: those of `vector` dimensions without weight decay, if it spares these."""
        if self.decay_vectors:
            return parameters
        everything = list(parameters)
        decayed = [each for each in everything if each.ndim > vector]
        return [{"params": decayed}, {"params": [each for each in everything if each.ndim <= vector], "weight_decay": 0.0}]

    def optimizer_for(
        self, epoch: int, parameters: Iterable[Tensor], present: torch.optim.Optimizer | None, stacked: bool = False
    ) -> torch.optim.Optimizer:
        """The optimizer of an epoch: `present` with the epoch's step size, or a new one where the schedule starts anew.

        On a GPU `present` stays for good, as a graph that was recorded knows its tensors: what starts anew are their values.
        """
        if present is None or (self.restarts(epoch) and not stays_in_place(present)):
            return self.new_optimizer(parameters, epoch, stacked)
        if self.restarts(epoch):
            forget(present)
        set_rate(present, self.rate(epoch))
        return present

    @property
    def _middle(self) -> int:
        """The last epoch with the full step size, of decay half."""
        return self.epochs // 2 + 1
