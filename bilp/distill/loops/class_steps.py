"""Image steps of the methods that step class by class (IDC, DREAM, IDM), on one tensor that all classes share.

SGD with momentum moves the whole tensor at every step, so the images of a class also follow their momentum while the
other classes have their turn: of C steps in a pass, one brings a gradient and C - 1 let the momentum ring down. Those
C - 1 steps have a closed form, so a pass costs as much as one step on the whole tensor.

In a run that is divided, C counts the classes of one shard. So it is in IDC's program (condense_mp.py), which gives each
part of the classes (nclass_sub of them, consecutive) a process with images and an optimizer of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.step.batch import Target

Term = Callable[[Tensor, Tensor], Tensor]
"""What is added to the distance of a class: a scalar of the images that enter the network and of their labels."""


@dataclass
class SharedLeaf:
    """The synthetic images and their momentum, moved in place; classes must have their turns in order, all in each pass."""

    images: Tensor
    """`[classes * ipc, C, H, W]`."""
    velocity: Tensor
    """Momentum buffer, same shape."""
    classes: int
    """Classes that have images here; they are counted from 0."""
    learning_rate: float
    momentum: float
    scale: Tensor | float = 1.0
    """Factor on gradients: 1 / std^2 where images are stored normalized and stepped as pixels."""

    def rows(self, place: int) -> slice:
        """The rows of the class that is number `place` here."""
        ipc = len(self.images) // self.classes
        return slice(place * ipc, (place + 1) * ipc)

    def begin_turn(self, place: int) -> None:
        """The steps of this pass before the class's own."""
        self._ring_down(self.rows(place), place)

    def end_turn(self, place: int, gradient: Tensor) -> None:
        """The class's own step on `gradient`, and the steps of this pass after it."""
        rows = self.rows(place)
        self.velocity[rows] = self.momentum * self.velocity[rows] + gradient * self.scale
        self.images[rows] -= self.learning_rate * self.velocity[rows]
        self._ring_down(rows, self.classes - 1 - place)

    def _ring_down(self, rows: slice, steps: int) -> None:
        """`steps` steps with a gradient of zero: v becomes m^k v, and the images move by lr (m + ... + m^k) v."""
        if steps and self.momentum:
            reach = sum(self.momentum**k for k in range(1, steps + 1))
            self.images[rows] -= (self.learning_rate * reach) * self.velocity[rows]
            self.velocity[rows] *= self.momentum**steps


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

        `term` is added to every class's distance. Raises Diverged.
        """
        setting, leaf, targets = self.setting, self.leaf, iter(found)
        gradient = torch.zeros_like(leaf.images)
        losses, used, withheld = [], 0, []
        for turn, c in enumerate(setting.classes):
            leaf.begin_turn(turn)
            target = next(targets)
            images = leaf.images[leaf.rows(turn)].detach().clone().requires_grad_()
            entering = setting.entering(images, target.batch.params, setting.choose_decoded("decoded", number, step, c))
            labels = setting.class_labels(c, len(entering))
            loss = setting.matching.distance(target.mean, setting.matching.synthetic(setting.network, entering, labels))
            if term is not None:
                loss = loss + term(entering, labels)
            (of_class,) = torch.autograd.grad(loss, images)
            leaf.end_turn(turn, of_class)
            gradient[leaf.rows(turn)] = of_class
            losses.append(loss.detach())
            used += len(target.batch.ids)
            withheld.append(target.batch.withheld)
        return Step(self.guard.check_step(number, torch.stack(losses), gradient, leaf.images), used, statistics.fmean(withheld))
