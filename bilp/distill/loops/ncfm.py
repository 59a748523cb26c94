"""The loop of NCFM (Wang et al. 2025): characteristic functions of features, under networks that are trained to a random degree.

For every iteration one of the pretrained networks, at weights drawn uniformly between its first and its last ones. An image step
draws frequencies and steps the pixels towards the characteristic functions of the real batches; a second step, of the same
optimizer, lowers the cross-entropy of the synthetic images under the trained network. Pixels are kept within [0, 1] between iterations.

With `outer_loops` above 1 the network, the real batches and their augmentation stand for several image steps, of which each has its
own frequencies, and the features of the real batches are computed once. The program has one image step per network.

What is different from the authors' program on purpose:

* The program has one AdamW for all images and steps it after the gradient of each class, so that the images of a class also move by
  momentum and weight decay at the turns of all others, the more the more classes there are, and the classes that a process has
  decide what comes out. Here all classes are stepped once, each with moments and step size of its own: classes are independent.
* The program halves one step size by the loss of all classes of a process; here each class has its own.
* The frequencies are drawn once for all classes of an image step, not for each class.
* The network that learns frequencies (the paper's maximization) is left out: no configuration file of the program switches it on.
* Networks of more than five blocks are compared by their last features alone, the program then adds earlier layers.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.step.batch import Batch, Target, sent
from bilp.distill.step.networks_between import NetworksBetween
from bilp.distill.step.pixel_steps import PixelSteps
from bilp.distill.step.real import draw_batches
from bilp.distill.step.real_features import RealFeatures
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.distill.step.synthetic import class_losses, classes_per_pass, grouped, network_inputs
from bilp.errors import ConfigError
from bilp.images import augment
from bilp.matching.characteristic import CharacteristicMatching
from bilp.nets import Network


class CharacteristicIterations(Iterations):
    """Image steps on the characteristic functions, and as many on the cross-entropy under the trained network."""

    def prepare(self) -> None:
        """Pixels within their range, and the optimizer. Raises ConfigError for another matching."""
        setting = self.setting
        if not isinstance(setting.matching, CharacteristicMatching):
            raise ConfigError(f"method {setting.config.method} names a loop that matches characteristic functions, but another matching")
        self._steps, self._networks = PixelSteps(setting, self.state), NetworksBetween(setting)
        self._real = RealFeatures(setting, setting.matching)
        self._stand = setting.schedule.outer_loops > 1

    def iteration(self, number: int) -> Iterator[Step]:
        """The image steps on one network."""
        trained = self._networks.draw("network", number)
        self._real.forget()
        self.setting.freeze_statistics(number, 0)  # once, for features that are held are those under these statistics
        for step in range(self.setting.schedule.outer_loops):
            self.setting.matching.draw(self.setting.config.seed, "frequencies", number, step)
            yield self._image_step(number, step, trained)
        self._steps.clamp()

    def _image_step(self, number: int, step: int, trained: Network | None) -> Step:
        settings = self.setting.config.characteristic
        judged = trained is not None and settings.calibration > 0
        taken = (number * self.setting.schedule.outer_loops + step) * (2 if judged else 1)
        losses, gradient, batches = self._matched(self._standing_targets(number, step) if self._stand else self.targets(number, step))
        self._steps.take(gradient, taken + 1)
        if judged and trained is not None:
            wrong, further = self._judged(trained, number, step)
            self._steps.take(further, taken + 2)
            losses, gradient = losses + wrong, gradient + further
        self._steps.note(losses)
        values = self.guard.check_step(number, losses, gradient, self.state.images)
        return Step(values, sum(len(batch.ids) for batch in batches), statistics.fmean(batch.withheld for batch in batches))

    def _standing_targets(self, number: int, step: int) -> Iterator[Target]:
        """Targets of a step whose real batches are those of the network's first one, but for what was decided since."""
        if self.reselects(number, step):
            return self.targets(number, step)
        return self._real.targets(sent(self.setting, draw_batches(self.setting, self.pruner, number, 0)))

    def _matched(self, found: Iterable[Target]) -> tuple[Tensor, Tensor, list[Batch]]:
        """Distances `[classes]`, the gradient of their sum with respect to all images, and the real batches."""
        setting, images, labels = self.setting, self.state.images, self._labels()
        gradient, losses, batches = torch.zeros_like(images), list[Tensor](), list[Batch]()
        for together in grouped(found, classes_per_pass(setting)):
            members = [target.batch.class_index for target in together]
            rows = setting.row_numbers_of(members)
            own = labels[members[0] - setting.classes.start :][: len(members)].flatten()
            distances, gradient[rows] = class_losses(setting, images[rows], own, together)
            losses.append(distances)
            batches += [target.batch for target in together]
        return torch.cat(losses), gradient, batches

    def _judged(self, trained: Network, number: int, step: int) -> tuple[Tensor, Tensor]:
        """The weighted cross-entropy of every class's images under the trained network `[classes]`, and the gradient of the sum."""
        setting, images, labels = self.setting, self.state.images, self._labels()
        drawn = setting.draw_augmentations(setting.classes, "calibration_augment", number, step)
        params = augment.send(drawn, setting.side, setting.device)
        gradient, losses = torch.zeros_like(images), list[Tensor]()
        for places in grouped(range(len(setting.classes)), classes_per_pass(setting)):
            rows = setting.row_numbers_of([setting.classes[place] for place in places])
            stored = images[rows].detach().requires_grad_()
            with torch.enable_grad():
                entering = network_inputs(setting, stored, [params[place] for place in places], None)
                each = functional.cross_entropy(trained(entering), labels[places[0] :][: len(places)].flatten(), reduction="none")
                wrong = setting.config.characteristic.calibration * each.view(len(places), -1).mean(dim=1)
            (gradient[rows],) = torch.autograd.grad(wrong.sum(), stored)
            losses.append(wrong.detach())
        return torch.cat(losses), gradient

    def _labels(self) -> Tensor:
        """Labels of the images that enter the network, int64 `[classes, n]`."""
        classes = self.setting.classes
        return torch.arange(classes.start, classes.stop, device=self.setting.device).unsqueeze(1).repeat(1, self.setting.entering)


def draw_network_between(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """A network as the image steps of NCFM meet them, for a reselection, and frequencies of its own."""
    NetworksBetween(setting).draw("reselect_network", round_number, which)
    setting.matching.draw(setting.config.seed, "reselect_frequencies", round_number, which)
    setting.freeze_statistics("reselect", round_number, which)


distill = CharacteristicIterations.distill
