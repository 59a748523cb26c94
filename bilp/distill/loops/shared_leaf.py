"""SGD with momentum on one tensor of images that classes share and step in turn, in closed form.

Momentum moves the whole tensor at every step, so the images of a class also follow their momentum while the other classes have
their turn: of C steps in a pass, one brings a gradient and C - 1 let the momentum ring down. Those C - 1 steps have a closed form,
so a pass costs as much as one step on the whole tensor. It also tells beforehand where the images of every class are at its turn,
whatever the gradients of the others turn out to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass
class SharedLeaf:
    """The synthetic images and their momentum, moved in place; classes must have their turns in order, all in each pass.

    A pass is `begin_turn` and `end_turn` of every class, or `begin_pass` and `end_pass`, which move the same values by the same
    products and sums.
    """

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

    def begin_pass(self) -> None:
        """Every class's images as they are when its turn comes."""
        self._ring_down_each(*self._before)

    def end_pass(self, gradient: Tensor) -> None:
        """Every class's own step on its rows of `gradient` `[classes * ipc, C, H, W]`, and the steps after it."""
        self.velocity.mul_(self.momentum).add_(gradient * self.scale)
        self.images.sub_(self.learning_rate * self.velocity)
        self._ring_down_each(*self._after)

    def _ring_down(self, rows: slice, steps: int) -> None:
        """`steps` steps with a gradient of zero: v becomes m^k v, and the images move by lr (m + ... + m^k) v."""
        if steps and self.momentum:
            self.images[rows] -= self._reach(steps) * self.velocity[rows]
            self.velocity[rows] *= self.momentum**steps

    def _ring_down_each(self, reach: Tensor, decay: Tensor) -> None:
        """The same with as many steps for each class as its rows of `reach` and `decay` `[classes * ipc, 1, ...]` say."""
        if self.momentum:
            self.images.sub_(reach * self.velocity)
            self.velocity.mul_(decay)

    def _reach(self, steps: int) -> float:
        return self.learning_rate * sum(self.momentum**k for k in range(1, steps + 1))

    @cached_property
    def _before(self) -> tuple[Tensor, Tensor]:
        return self._factors(list(range(self.classes)))

    @cached_property
    def _after(self) -> tuple[Tensor, Tensor]:
        return self._factors([self.classes - 1 - place for place in range(self.classes)])

    def _factors(self, steps: list[int]) -> tuple[Tensor, Tensor]:
        """How far images follow their momentum in each class's number of steps, and what remains of it: `[classes * ipc, 1, ...]`."""
        each, shape = len(self.images) // self.classes, (-1, *[1] * (self.images.dim() - 1))
        values = torch.tensor([[self._reach(k) for k in steps], [self.momentum**k for k in steps]], dtype=torch.float64)
        reach, decay = values.repeat_interleave(each, dim=1).to(self.images)
        return reach.view(shape), decay.view(shape)
