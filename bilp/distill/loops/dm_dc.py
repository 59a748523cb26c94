"""The loop of DC, DSA and DM: what is matched and what trains the network are passed in.

For every iteration a new random network; for every outer loop one SGD step on all synthetic images at once, on the
sum over classes of distance(mean real vector, synthetic vector); between outer loops the network is trained on them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.distill.loops.iterations import Iterations, SharedStep, Step
from bilp.distill.step.batch import Batch, Target
from bilp.distill.step.synthetic import class_losses, classes_per_pass, grouped


@dataclass(frozen=True)
class Moved:
    """What an SGD step of all images was taken on."""

    losses: Tensor
    """Of every class `[classes]`."""
    gradient: Tensor
    """`[classes * ipc, C, H, W]`."""
    batches: list[Batch]
    """Of every class."""


class SummedIterations(Iterations):
    """One step of all images on the sum over classes, several times per network."""

    def prepare(self) -> None:
        """The optimizer of the images."""
        self._shared = SharedStep(self.setting, self.state)

    def iteration(self, number: int) -> Iterator[Step]:
        """The outer loops on one network."""
        for outer in range(self.setting.schedule.outer_loops):
            yield self.outer_loop(number, outer)

    def outer_loop(self, number: int, outer: int) -> Step:
        """A new network, or a training of the one that is there, and an image step."""
        setting, state = self.setting, self.state
        if outer == 0:
            setting.draw_network("network", number)
        else:
            setting.train_network(state.images, state.labels, number, outer - 1)
        setting.freeze_statistics(number, outer)
        moved = self.move(self.targets(number, outer))
        values = self.guard.check_step(number, moved.losses, moved.gradient, state.images)
        withheld = statistics.fmean(batch.withheld for batch in moved.batches)
        return Step(values, sum(len(batch.ids) for batch in moved.batches), withheld)

    def move(self, found: Iterable[Target]) -> Moved:
        """One SGD step on the gradient summed over classes; the loss of a class touches its own rows only."""
        setting, images, labels = self.setting, self.state.images, self.state.labels
        gradient = torch.zeros_like(images)
        losses: list[Tensor] = []
        batches: list[Batch] = []
        for together in grouped(found, classes_per_pass(setting)):
            rows = setting.row_numbers_of([target.batch.class_index for target in together])
            distances, gradient[rows] = class_losses(setting, images[rows], labels[rows], together)
            losses.append(distances)
            batches += [target.batch for target in together]
        self._shared.take(gradient)
        return Moved(torch.cat(losses), gradient, batches)


distill = SummedIterations.distill
