"""The loop of DC, DSA and DM: what is matched and what trains the network are passed in.

For every iteration a new random network; for every outer loop one SGD step on all synthetic images at once, on the
sum over classes of distance(mean real vector, synthetic vector); between outer loops the network is trained on them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import torch

from bilp.distill.loops.iterations import Iterations, SharedStep, Step
from bilp.distill.step.synthetic import class_losses, classes_per_pass, grouped


class SummedIterations(Iterations):
    """One step of all images on the sum over classes, several times per network."""

    def prepare(self) -> None:
        """The optimizer of the images."""
        self._shared = SharedStep(self.setting, self.state)

    def iteration(self, number: int) -> Iterator[Step]:
        """The outer loops on one network."""
        setting, state = self.setting, self.state
        setting.draw_network("network", number)
        for outer in range(setting.schedule.outer_loops):
            if outer > 0:
                setting.train_network(state.images, state.labels, number, outer - 1)
            setting.freeze_statistics(number, outer)
            yield self._image_step(number, outer)

    def _image_step(self, number: int, outer: int) -> Step:
        """One SGD step on the gradient summed over classes; the loss of a class touches its own rows only."""
        setting, images, labels = self.setting, self.state.images, self.state.labels
        gradient = torch.zeros_like(images)
        losses, used, withheld = [], 0, []
        for together in grouped(self.targets(number, outer), classes_per_pass(setting)):
            rows = torch.cat([setting.row_numbers(target.batch.class_index) for target in together])
            distances, gradient[rows] = class_losses(setting, images[rows], labels[rows], together)
            losses.append(distances)
            used += sum(len(target.batch.ids) for target in together)
            withheld += [target.batch.withheld for target in together]
        self._shared.take(gradient)
        return Step(self.guard.check_step(number, torch.cat(losses), gradient, images), used, statistics.fmean(withheld))


distill = SummedIterations.distill
