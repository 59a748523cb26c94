"""Kernel matching (IDC; Kim et al. 2022, and DREAM; Liu et al. 2023): a class's gradient for the convolution kernels alone."""

from __future__ import annotations

from torch import Tensor, nn

from bilp.config.methods.idc import KernelMetric
from bilp.matching.distance import ABSOLUTE, SQUARED, Distance
from bilp.matching.gradients import GradientMatching

LEAST_DIMENSIONS = 4
"""Of a kernel: output and input channels, height and width, in space also depth or time."""
METRICS: dict[KernelMetric, Distance] = {"mse": SQUARED, "l1": ABSOLUTE}


class KernelMatching(GradientMatching):
    """phi = gradient with respect to every convolution kernel, blocks `[rows, columns]` with one row per output channel.

    D = sum of squared (mse) or of absolute (l1) differences over all values of all blocks, not their mean. Biases, norm
    scales and linear layers take no part.
    """

    kind = "kernel matching"
    none_matched = "idc and dream match the gradients of convolutions, but this network has none: use method dc or another network"

    def __init__(self, name: str, metric: KernelMetric) -> None:
        """`name` is idc or dream; they differ in which real samples are matched."""
        super().__init__(name, METRICS[metric])

    def parameters(self, network: nn.Module) -> list[nn.Parameter]:
        return [parameter for parameter in network.parameters() if is_kernel(parameter)]


def is_kernel(parameter: Tensor) -> bool:
    """Whether a parameter is the kernel of a convolution."""
    return parameter.dim() >= LEAST_DIMENSIONS
