"""What a network is, as one row of numbers: its parameters and the running statistics of its batch norm, behind one another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.nets.network import Network


def values_of(network: Network) -> list[Tensor]:
    """Parameters and the running statistics of batch norm."""
    return [*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())]


def flattened(values: Sequence[Tensor]) -> Tensor:
    """All numbers of some tensors in one row `[n]`, without a graph."""
    return torch.cat([tensor.detach().flatten() for tensor in values])


def parts_of(row: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The numbers of a row `[n]` in the shapes of `like`; they share its memory."""
    return [part.view(tensor.shape) for part, tensor in zip(row.split([tensor.numel() for tensor in like]), like, strict=True)]
