"""Image steps of the methods that step class by class (IDC, DREAM, IDM), on one tensor that all classes share (`shared_leaf`).

On a CPU one class has its turn after the other. On other devices all classes of a pass go through the network together (`together`):
the images of each at its turn are known when the pass begins, and no gradient depends on those of other classes.

In a run that is divided, a pass is over the classes of one shard. So it is in IDC's program (condense_mp.py), which gives each
part of the classes (nclass_sub of them, consecutive) a process with images and an optimizer of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor

from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.loops.shared_leaf import SharedLeaf
from bilp.distill.step.batch import Batch, Target
from bilp.distill.step.synthetic import Term, class_losses, classes_per_pass, grouped
from bilp.distill.step.together import together_on


class ClassIterations(Iterations):
    """Iterations whose image steps go class by class."""

    scale: Tensor | float = 1.0
    """See `SharedLeaf`."""

    def prepare(self) -> None:
        """The images of the state themselves, under the run's step size and momentum."""
        config, state = self.setting.config, self.state
        self.leaf = SharedLeaf(state.images, state.momentum, len(self.setting.classes), config.learning_rate, config.momentum, self.scale)

    def class_steps(self, number: int, step: int, found: Iterable[Target], term: Term | None = None) -> Step:
        """Step every class of `setting.classes` in turn towards its target, which is asked for when its turn comes.

        `term` is added to every class's distance. A step that reselects always takes turns, since its targets may depend on the
        images of all classes. Raises Diverged.
        """
        together = together_on(self.setting.device) and not self.reselects(number, step)
        losses, gradient, batches = (self._together if together else self._in_turn)(number, step, found, term)
        used, withheld = sum(len(batch.ids) for batch in batches), statistics.fmean(batch.withheld for batch in batches)
        return Step(self.guard.check_step(number, losses, gradient, self.leaf.images), used, withheld)

    def _in_turn(self, number: int, step: int, found: Iterable[Target], term: Term | None) -> tuple[Tensor, Tensor, list[Batch]]:
        """Losses of all classes, the gradient with respect to all images, and the real batches: the definition."""
        setting, leaf, targets = self.setting, self.leaf, iter(found)
        gradient = torch.zeros_like(leaf.images)
        losses, batches = [], []
        for turn, c in enumerate(setting.classes):
            leaf.begin_turn(turn)
            target = next(targets)
            images = leaf.images[leaf.rows(turn)].detach().clone().requires_grad_()
            entering = setting.network_inputs(images, target.batch.params, setting.choose_decoded("decoded", number, step, c))
            labels = setting.class_labels(c, len(entering))
            loss = setting.matching.distance(target.mean, setting.matching.synthetic(setting.network, entering, labels))
            if term is not None:
                loss = loss + term(entering, labels, 1).squeeze(0)
            (of_class,) = torch.autograd.grad(loss, images)
            leaf.end_turn(turn, of_class)
            gradient[leaf.rows(turn)] = of_class
            losses.append(loss.detach())
            batches.append(target.batch)
        return torch.stack(losses), gradient, batches

    def _together(self, number: int, step: int, found: Iterable[Target], term: Term | None) -> tuple[Tensor, Tensor, list[Batch]]:
        """The same, of as many classes at once as memory allows."""
        setting, leaf = self.setting, self.leaf
        gradient = torch.empty_like(leaf.images)
        losses, batches = [], list[Batch]()
        leaf.begin_pass()
        for targets in grouped(found, classes_per_pass(setting)):
            first, last = len(batches), len(batches) + len(targets) - 1
            rows = slice(leaf.rows(first).start, leaf.rows(last).stop)
            chosen = setting.choose_decoded_by_class(setting.classes[first : last + 1], "decoded", number, step)
            labels = self._labels[first : last + 1].flatten()
            of_classes, gradient[rows] = class_losses(setting, leaf.images[rows], labels, targets, chosen, term)
            losses.append(of_classes)
            batches += [target.batch for target in targets]
        leaf.end_pass(gradient)
        return torch.cat(losses), gradient, batches

    @cached_property
    def _labels(self) -> Tensor:
        """Labels of the images that enter the network, int64 `[classes, n]`."""
        classes = self.setting.classes
        return torch.arange(classes.start, classes.stop, device=self.setting.device).unsqueeze(1).repeat(1, self.setting.entering)
