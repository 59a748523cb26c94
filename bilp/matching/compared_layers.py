"""Which layers of a network are compared with an expert's: PAD (Li et al. 2024) leaves out those near the images."""

from __future__ import annotations

import math

from torch import nn

ROUNDING = 1e-9
"""A product such as 0.29 * 100 may end just below a whole number."""


def layer_starts(network: nn.Module) -> list[int]:
    """Where each layer begins in the order of `network.parameters()`: a layer is a weight of two or more dimensions, of a convolution or a
    linear map, with the biases and the norm parameters up to the next one."""
    starts = [place for place, value in enumerate(network.parameters()) if value.ndim > 1]
    return [0, *starts[1:]]


def first_compared(network: nn.Module, shallow: float) -> int:
    """The first parameter that is compared where the share `shallow` in [0, 1) of the layers, rounded down to whole ones, is not."""
    starts = layer_starts(network)
    return starts[math.floor(shallow * len(starts) + ROUNDING)]
