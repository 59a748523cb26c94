"""In which form a gradient of trajectory matching is computed, by the type of the device."""

from __future__ import annotations

from functools import partial

import torch

from bilp.matching.trajectory import Gradient, constant_memory_gradient
from bilp.matching.trajectory_by_steps import exact_gradient
from bilp.matching.trajectory_flat import FlatGradient, compare_exactly, compare_in_constant_memory
from bilp.nets import Network

REFERENCE = "cpu"
"""The type of device on which autograd does it, operation by operation as it always did."""


def exact(network: Network, device: torch.device) -> Gradient:
    """MTT: through all steps."""
    return partial(exact_gradient, network) if device.type == REFERENCE else FlatGradient(network, compare_exactly)


def in_constant_memory(network: Network, device: torch.device) -> Gradient:
    """TESLA: each step as a function of its own mini-batch."""
    return partial(constant_memory_gradient, network) if device.type == REFERENCE else FlatGradient(network, compare_in_constant_memory)
