"""The step of a plain training: a mini-batch, its cross-entropy, the optimizer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bilp.training.replayed import Replayed


class ClassifierStep:
    """One step of an optimizer on the mean cross-entropy of a mini-batch; a CUDA device replays it as a graph.

    The network is in train mode whenever it is called, and draws no random numbers.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device | str) -> None:
        """`optimizer` is of the network's parameters, which lie on `device`."""
        self._network, self._optimizer = network, optimizer
        self._step = Replayed(self._trained, device)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss, before the step, of images `[B, ...]` with labels `[B]`: a detached scalar, which the next call may overwrite."""
        (loss,) = self._step(images, labels)
        return loss

    def _trained(self, images: Tensor, labels: Tensor) -> tuple[Tensor]:
        self._optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(self._network(images), labels)
        loss.backward()
        self._optimizer.step()
        return (loss.detach(),)
