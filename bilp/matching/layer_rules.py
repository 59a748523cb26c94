"""How a layer's weights enter a gradient: everything follows from its input u and the gradient e of its output.

The gradient of one sample's loss is an outer product of the two (summed over positions), so an ordinary backward
pass of the batch already holds the gradients of all of its samples. The same two tensors of the synthetic batch carry
a product with the transposed Jacobian: for phi = outer(u, e) and a cotangent c of phi,
d<c, phi>/de = layer_c(u) and d<c, phi>/du = layer_c^T(e), where layer_c is the layer with c as its weights.

Only parameters with at least two dimensions are matched; a block is `[rows, columns]` with rows = first dimension. See also
docs/notation.md.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.matching.convolution import ConvolutionLayer


class Layer(Protocol):
    """One matched module. The node is what its weights multiply: its input, or the normalized input of a layer norm.

    In `outer` and `outer_derivative` a sample may hold several rows, `[B, T, ...]`, whose gradients are summed.
    """

    parameters: tuple[Tensor, ...]

    def node(self, given: Tensor) -> Tensor:
        """The node `[B, ...]` for the input `[B, ...]` that the module was given, differentiable."""

    def output(self, node: Tensor) -> Tensor:
        """The module's output `[B, ...]` from its node, cheap to differentiate twice, parameters constant."""

    def outer(self, node: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        """Per-sample gradients `[B, rows, columns]` with respect to each parameter, from node and output gradient `[B, ...]`."""

    def summed(self, node: Tensor, gradient: Tensor, classes: int) -> tuple[Tensor, ...]:
        """The sum of `outer` over the samples of each class `[K, rows, columns]`, without holding a gradient per sample.

        The samples are as many of each of K classes, class by class.
        """

    def outer_derivative(self, node: Tensor, node_tangent: Tensor, gradient: Tensor, gradient_tangent: Tensor) -> tuple[Tensor, ...]:
        """Derivative of `outer` when node and gradient move along their tangents: `[B, rows, columns]` of each parameter."""

    def adjoint(self, node: Tensor, gradient: Tensor, cotangents: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Cotangents `[k, K, rows, columns]` of each parameter's `summed`, to those of `gradient` and of `node`.

        Both results are `[k * K * M, ...]` for nodes `[K * M, ...]`, the k copies of the batch one after the other.
        """


class LinearLayer:
    """torch.nn.Linear on `[B, ..., inputs]`."""

    def __init__(self, module: nn.Linear) -> None:
        self.module = module
        self.parameters: tuple[Tensor, ...] = (module.weight,)

    def node(self, given: Tensor) -> Tensor:
        return given

    def output(self, node: Tensor) -> Tensor:
        bias = None if self.module.bias is None else self.module.bias.detach()
        return functional.linear(node, self.module.weight.detach(), bias)

    def outer(self, node: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        batch = len(node)
        e = gradient.reshape(batch, -1, self.module.out_features)
        return (torch.bmm(e.transpose(1, 2), node.reshape(batch, -1, self.module.in_features)),)

    def summed(self, node: Tensor, gradient: Tensor, classes: int) -> tuple[Tensor, ...]:
        e = gradient.reshape(classes, -1, self.module.out_features)
        return (torch.bmm(e.transpose(1, 2), node.reshape(classes, -1, self.module.in_features)),)

    def outer_derivative(self, node: Tensor, node_tangent: Tensor, gradient: Tensor, gradient_tangent: Tensor) -> tuple[Tensor, ...]:
        return (self.outer(node, gradient_tangent)[0].add_(self.outer(node_tangent, gradient)[0]),)

    def adjoint(self, node: Tensor, gradient: Tensor, cotangents: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        (c,) = cotangents
        classes = c.shape[1]
        to_gradient = torch.matmul(node.reshape(classes, -1, self.module.in_features), c.transpose(2, 3))
        to_node = torch.matmul(gradient.reshape(classes, -1, self.module.out_features), c)
        return to_gradient.reshape(-1, *gradient.shape[1:]), to_node.reshape(-1, *node.shape[1:])


class LayerNormLayer:
    """torch.nn.LayerNorm over two or more dimensions: its scale and bias are matrices and therefore matched."""

    def __init__(self, module: nn.LayerNorm) -> None:
        self.module = module
        self.parameters: tuple[Tensor, ...] = tuple(p for p in (module.weight, module.bias) if p is not None)

    def node(self, given: Tensor) -> Tensor:
        return functional.layer_norm(given, self.module.normalized_shape, eps=self.module.eps)

    def output(self, node: Tensor) -> Tensor:
        scaled = node * self.module.weight.detach()
        return scaled if self.module.bias is None else scaled + self.module.bias.detach()

    def outer(self, node: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._rows(value) for value in (gradient * node, gradient)[: len(self.parameters)])

    def summed(self, node: Tensor, gradient: Tensor, classes: int) -> tuple[Tensor, ...]:
        return self.outer(node.unflatten(0, (classes, -1)), gradient.unflatten(0, (classes, -1)))

    def _rows(self, values: Tensor) -> Tensor:
        shape = self.module.normalized_shape
        return values.reshape(len(values), -1, math.prod(shape)).sum(dim=1).view(len(values), shape[0], -1)

    def outer_derivative(self, node: Tensor, node_tangent: Tensor, gradient: Tensor, gradient_tangent: Tensor) -> tuple[Tensor, ...]:
        moved = gradient_tangent * node + gradient * node_tangent
        return tuple(self._rows(value) for value in (moved, gradient_tangent)[: len(self.parameters)])

    def adjoint(self, node: Tensor, gradient: Tensor, cotangents: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        classes = cotangents[0].shape[1]
        nodes, gradients = node.unflatten(0, (classes, -1)), gradient.unflatten(0, (classes, -1))
        between = nodes.dim() - 1 - len(self.module.normalized_shape)
        c = [value.reshape(len(value), classes, *[1] * between, *self.module.normalized_shape) for value in cotangents]
        to_gradient = c[0] * nodes
        if len(c) > 1:
            to_gradient = to_gradient + c[1]
        return to_gradient.flatten(0, 2), (c[0] * gradients).flatten(0, 2)


def layer_of(module: nn.Module) -> Layer | None:
    """The rule for a module, by its exact type (a subclass may compute something else); None if there is none."""
    if type(module) is nn.Linear:
        return LinearLayer(module)
    if (type(module) is nn.Conv2d or type(module) is nn.Conv3d) and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return ConvolutionLayer(module)
    if type(module) is nn.LayerNorm and module.elementwise_affine:
        return LayerNormLayer(module)
    return None
