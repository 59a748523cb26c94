"""The mini-batches of all steps of a training on S, as they enter the network, and the way back to the stored images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.images import augment
from bilp.matching.trajectory import TrainingStep

PASS_BYTES = 2**30
"""Images that are augmented in one pass, whose graph holds a small multiple of them."""


class StepBatches:
    """Mini-batches are functions of S alone, so all of them can be made before the first step, and differentiated after the last."""

    def __init__(self, images: Tensor, steps: Sequence[TrainingStep], pass_bytes: int = PASS_BYTES) -> None:
        """`images` `[M, C, H, W]` are S; `pass_bytes` bounds the images of a pass, which is one step at least."""
        self._images = images.detach()
        self.sizes = [len(step.rows) for step in steps]
        each = max(1, pass_bytes // (images[0].numel() * images.element_size() * max(self.sizes)))
        self._passes = [steps[first : first + each] for first in range(0, len(steps), each)]
        self._counts = [sum(self.sizes[first : first + each]) for first in range(0, len(steps), each)]
        self._graph = self._pass(steps) if len(self._passes) == 1 else None

    def entering(self) -> Tensor:
        """The augmented images of all steps in order, `[b_1 + ... + b_N, C, H, W]`, detached."""
        if self._graph is not None:
            return self._graph[1].detach()
        return torch.cat([self._pass(part)[1].detach() for part in self._passes])

    def labels(self, labels: Tensor) -> Tensor:
        """Theirs, `[b_1 + ... + b_N, ...]`, from those of S `[M, ...]`."""
        return labels[self._rows()]

    def pulled_labels(self, gradient: Tensor, labels: Tensor) -> Tensor:
        """The gradient with respect to `labels(...)` of the logits of soft ones as one with respect to those of S, `[M, classes]`."""
        total = torch.zeros_like(labels)
        for rows, own in zip(self._rows().split(self.sizes), gradient.split(self.sizes), strict=True):
            total[rows] += own  # a mini-batch holds an image once at most, so that sums have an order
        return total

    def _rows(self) -> Tensor:
        return torch.cat([step.rows for part in self._passes for step in part])

    def pulled(self, gradient: Tensor) -> Tensor:
        """The gradient with respect to `entering` as one with respect to S, `[M, C, H, W]`."""
        total = torch.zeros_like(self._images)
        for part, own in zip(self._passes, gradient.split(self._counts), strict=True):
            leaf, entering = self._graph or self._pass(part)
            total += torch.autograd.grad(entering, leaf, own)[0]
        return total

    def _pass(self, steps: Sequence[TrainingStep]) -> tuple[Tensor, Tensor]:
        """S as a leaf, and the mini-batches of some steps as a function of it."""
        leaf, rows = self._images.detach().requires_grad_(), torch.cat([step.rows for step in steps])
        with torch.enable_grad():
            return leaf, augment.apply_each(leaf[rows], [step.params for step in steps], [len(step.rows) for step in steps])
