"""The rule of a layer that sees every frame of a video as a row of its own.

A sample's gradient is then the sum of the outer products of its frames, just as it is a sum over positions. What acts row
by row, such as the products with cotangents, is the layer's own.
"""

from __future__ import annotations

from torch import Tensor

from bilp.matching.layer_rules import Layer


class FramesLayer:
    """A matched layer inside `bilp.nets.clips.FrameMean`: rows `[B * T, ...]`, those of a sample one after the other."""

    def __init__(self, layer: Layer, frames: int) -> None:
        """`layer` must accept rows of samples with an axis of frames, `[B, T, ...]`, in `outer` and `outer_derivative`."""
        self.parameters: tuple[Tensor, ...] = layer.parameters
        self._layer, self._frames = layer, frames

    def node(self, given: Tensor) -> Tensor:
        return self._layer.node(given)

    def output(self, node: Tensor) -> Tensor:
        return self._layer.output(node)

    def outer(self, node: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        return self._layer.outer(self._samples(node), self._samples(gradient))

    def summed(self, node: Tensor, gradient: Tensor, classes: int) -> tuple[Tensor, ...]:
        return self._layer.summed(node, gradient, classes)

    def outer_derivative(self, node: Tensor, node_tangent: Tensor, gradient: Tensor, gradient_tangent: Tensor) -> tuple[Tensor, ...]:
        return self._layer.outer_derivative(*map(self._samples, (node, node_tangent, gradient, gradient_tangent)))

    def adjoint(self, node: Tensor, gradient: Tensor, cotangents: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return self._layer.adjoint(node, gradient, cotangents)

    def _samples(self, rows: Tensor) -> Tensor:
        """`[B * T, ...]` to `[B, T, ...]`."""
        samples: Tensor = rows.unflatten(0, (-1, self._frames))
        return samples
