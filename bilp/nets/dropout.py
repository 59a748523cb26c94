"""Dropout (Srivastava et al. 2014) that draws from a stream it is handed, and does nothing without one.

PyTorch's own draws from the global random state. Here a network that nobody hands a stream is a function of its input
alone, in train mode too: scores, matching and causal effects compare gradients of one network on several batches, which
random numbers in between would spoil. Only the trainings of an evaluation hand one out (`bilp.training.train`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Sets each value to zero with a probability, and divides the others by the probability of staying."""

    def __init__(self, probability: float) -> None:
        """`probability` in [0, 1) is that of being dropped."""
        super().__init__()
        self.probability = probability
        self.stream: torch.Generator | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Values of any shape; unchanged in eval mode and without a stream."""
        if self.stream is None or not self.training:
            return features
        stays = torch.rand(features.shape, generator=self.stream, device=self.stream.device) >= self.probability
        return features * stays.to(features) / (1.0 - self.probability)


@contextmanager
def dropping(network: nn.Module, stream: torch.Generator) -> Iterator[None]:
    """Inside, the dropout layers of a network in train mode draw from `stream`."""
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    for layer in layers:
        layer.stream = stream
    try:
        yield
    finally:
        for layer in layers:
            layer.stream = None


def has_dropout(network: nn.Module) -> bool:
    """Whether training a network draws random numbers."""
    return any(isinstance(module, Dropout) for module in network.modules())
