"""Layers in a row that know the shape of their own map, so that a network fits any image or says why it cannot."""

from __future__ import annotations

from typing import Self

from torch import nn

from bilp.errors import ConfigError
from bilp.nets.network import Network
from bilp.nets.norm_layers import normalization
from bilp.nets.pooling import AveragePool


class TooSmallError(ConfigError):
    """The images are too small for the network; `build` adds what to change."""


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01
    "sigmoid": nn.Sigmoid,
    "swish": nn.SiLU,
}

POOLINGS: dict[str, type[AveragePool] | type[nn.MaxPool2d]] = {"avg": AveragePool, "max": nn.MaxPool2d}


class Layers:
    """Collects modules; `channels`, `height` and `width` are the shape of the map after the last of them."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.channels, self.height, self.width = shape
        self.modules: list[nn.Module] = []

    def conv(self, channels: int, kernel: int, padding: int, stride: int = 1, bias: bool = True) -> Self:
        """Convolution with a square kernel. Raises TooSmallError if the kernel does not fit the padded map.

        Args:
            channels: Of the new map.
            kernel: Side of the kernel.
            padding: Zeros at each border.
            stride: Step of the kernel.
            bias: Whether each channel has one.
        """
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in (self.height, self.width))
        if min(height, width) < 1:
            raise TooSmallError(f"a {kernel}x{kernel} convolution does not fit a map of {self.height}x{self.width}")
        self.modules.append(nn.Conv2d(self.channels, channels, kernel, stride=stride, padding=padding, bias=bias))
        self.channels, self.height, self.width = channels, height, width
        return self

    def norm(self, kind: str) -> Self:
        """Normalization. Raises TooSmallError for instance norm of a single pixel, which would erase the input."""
        if kind == "instance" and self.height * self.width == 1:
            raise TooSmallError("instance norm of a map of 1x1 would erase it")
        layer = normalization(kind, self.channels, self.height, self.width)
        if layer is not None:
            self.modules.append(layer)
        return self

    def activation(self, kind: str = "relu") -> Self:
        """Activation by its name in NetworkConfig."""
        self.modules.append(ACTIVATIONS[kind]())
        return self

    def pool(self, kind: str, size: int = 2) -> Self:
        """Pooling of size x size with the same stride; nothing for kind "none". Raises TooSmallError if the map is smaller."""
        if kind == "none":
            return self
        if min(self.height, self.width) < size:
            raise TooSmallError(f"{size}x{size} pooling does not fit a map of {self.height}x{self.width}")
        self.modules.append(POOLINGS[kind](size, size))
        self.height, self.width = self.height // size, self.width // size
        return self

    def block(self, module: nn.Module, channels: int, height: int, width: int) -> Self:
        """A ready module that turns the current map into one of the given shape."""
        self.modules.append(module)
        self.channels, self.height, self.width = channels, height, width
        return self

    def flatten(self) -> Self:
        """From a map to a vector, which is held as a map of 1x1."""
        return self.block(nn.Flatten(), self.features, 1, 1)

    def linear(self, features: int) -> Self:
        """Linear layer on a flattened map."""
        return self.block(nn.Linear(self.features, features), features, 1, 1)

    @property
    def features(self) -> int:
        """Number of values in the map of one image."""
        return self.channels * self.height * self.width

    def sequential(self) -> nn.Sequential:
        """The modules so far."""
        return nn.Sequential(*self.modules)

    def network(self, classes: int) -> Network:
        """The modules so far as the body of a network (the last one must have flattened the map)."""
        return Network(self.sequential(), self.features, classes)
