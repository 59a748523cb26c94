"""How a convolution's kernel enters a gradient, in the plane and in space (see `layer_rules`)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight, conv3d_weight

from bilp.matching.second_order import CONVOLVE, INPUT_GRADIENT, Convolution, convolve

# Windows of a batch that are copied at most; beyond that a class of the batch is large enough for a convolution of its own.
WINDOW_BYTES = 256 * 2**20
WEIGHT_GRADIENT: dict[int, Callable[..., Tensor]] = {4: conv2d_weight, 5: conv3d_weight}


class ConvolutionLayer:
    """torch.nn.Conv2d or Conv3d with zero padding, any stride, dilation and groups."""

    def __init__(self, module: Convolution) -> None:
        self.module = module
        self.parameters: tuple[Tensor, ...] = (module.weight,)
        self._dimensions = module.weight.dim()  # of the kernel, and of a batch of maps

    def node(self, given: Tensor) -> Tensor:
        return given

    def output(self, node: Tensor) -> Tensor:
        return convolve(node, self.module)

    def outer(self, node: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        # On a CPU one convolution with a group per sample beats copying all windows; GPUs have no fast kernel for it.
        if node.device.type == "cpu":
            return (self.outer_by_groups(node, gradient),)
        return (self.outer_by_windows(node, gradient),)

    def summed(self, node: Tensor, gradient: Tensor, classes: int) -> tuple[Tensor, ...]:
        if classes == 1:
            return (self._weight_gradient(node, gradient).unsqueeze(0),)
        if node.device.type != "cpu" and self._window_bytes(node) > WINDOW_BYTES:
            return (self.summed_by_slices(node, gradient, classes),)
        # The images of a class are what the frames of a video are: rows of one sample.
        return self.outer(node.unflatten(0, (classes, -1)), gradient.unflatten(0, (classes, -1)))

    def summed_by_slices(self, node: Tensor, gradient: Tensor, classes: int) -> Tensor:
        """`summed` class by class: many images of a class fill a device, and copies of all their windows its memory."""
        pairs = zip(node.chunk(classes), gradient.chunk(classes), strict=True)
        return torch.stack([self._weight_gradient(*own) for own in pairs])

    def _weight_gradient(self, node: Tensor, gradient: Tensor) -> Tensor:
        """Summed over all samples, `[rows, columns]`."""
        module, shape = self.module, tuple(self.module.weight.shape)
        weight_gradient = WEIGHT_GRADIENT[self._dimensions]
        result = weight_gradient(node, shape, gradient, module.stride, module.padding, module.dilation, module.groups)
        return result.reshape(len(result), -1)  # channels last, the weight gradient is too

    def _window_bytes(self, node: Tensor) -> int:
        """Bytes of the windows of `[B, C, ...]`, if there are as many as there are positions."""
        return node.numel() * node.element_size() * math.prod(self.module.kernel_size)

    def outer_by_groups(self, node: Tensor, gradient: Tensor) -> Tensor:
        """Per-sample gradients `[B, rows, columns]` as the weight gradient of a convolution whose groups are samples."""
        module, batch, weight = self.module, len(node), self.module.weight
        result = WEIGHT_GRADIENT[self._dimensions](
            self._samples_as_groups(node),
            (batch * weight.shape[0], *weight.shape[1:]),
            self._samples_as_groups(gradient),
            module.stride,
            module.padding,
            module.dilation,
            batch * module.groups,
        )
        return result.reshape(batch, weight.shape[0], -1)

    def outer_by_windows(self, node: Tensor, gradient: Tensor) -> Tensor:
        """The same as matrix products of the output gradients with the copied windows of the input."""
        groups, rows = self.module.groups, self.module.out_channels
        windows, e = self._windows(node), gradient
        if node.dim() > self._dimensions:
            e = gradient.transpose(1, 2)
        columns = windows.shape[1] // groups
        e = e.reshape(len(node) * groups, rows // groups, -1)
        result = torch.bmm(e, windows.reshape(len(node) * groups, columns, -1).transpose(1, 2))
        return result.view(len(node), rows, columns)

    def outer_derivative(self, node: Tensor, node_tangent: Tensor, gradient: Tensor, gradient_tangent: Tensor) -> tuple[Tensor, ...]:
        return (self.outer(node, gradient_tangent)[0].add_(self.outer(node_tangent, gradient)[0]),)

    def adjoint(self, node: Tensor, gradient: Tensor, cotangents: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The k convolutions of a class share their input, so they are one with k times the channels; classes are groups."""
        module, groups = self.module, self.module.groups
        out, per_group, *window = module.weight.shape
        lanes, classes = cotangents[0].shape[:2]
        c = cotangents[0].reshape(lanes, classes, groups, out // groups, per_group, *window)
        geometry = (module.stride, _numbers(module), module.dilation, classes * groups)
        rest = range(4, c.dim())

        wide = c.permute(1, 2, 0, 3, *rest).reshape(classes * lanes * out, per_group, *window)
        to_gradient = CONVOLVE[self._dimensions](_classes_as_groups(node, classes), wide, None, *geometry)

        deep = c.permute(1, 2, 3, 0, *rest).reshape(classes * out, lanes * per_group, *window)
        shape = (len(node) // classes, classes * lanes * node.shape[1], *node.shape[2:])
        to_node = INPUT_GRADIENT[self._dimensions](shape, deep, _classes_as_groups(gradient, classes), *geometry)
        return _lanes_first(to_gradient, lanes, classes, groups), _lanes_first(to_node, lanes, classes, groups)

    def _samples_as_groups(self, maps: Tensor) -> Tensor:
        """`[B, C, ...]` to `[1, B * C, ...]`. Frames `[B, T, C, ...]` become the batch `[T, B * C, ...]`, over which is summed."""
        if maps.dim() > self._dimensions:
            return maps.transpose(0, 1).flatten(1, 2)
        return maps.reshape(1, -1, *maps.shape[2:])

    def _windows(self, maps: Tensor) -> Tensor:
        """What the kernel meets at each position: `[B, C, ...]` to `[B, C * kernel, positions]`, those of all frames together."""
        if maps.dim() > self._dimensions:
            by_frame: Tensor = self._windows(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
            return by_frame.transpose(1, 2).flatten(2)
        module = self.module
        if self._dimensions == 4:
            return functional.unfold(maps, module.kernel_size, module.dilation, _numbers(module), module.stride)
        windows = functional.pad(maps, [padding for padding in reversed(_numbers(module)) for _ in range(2)])
        for axis, (size, gap, step) in enumerate(zip(module.kernel_size, module.dilation, module.stride, strict=True), start=2):
            windows = windows.unfold(axis, (size - 1) * gap + 1, step)[..., ::gap]
        return windows.flatten(2, 1 + len(module.kernel_size)).movedim(2, -1).flatten(1, -2)


def _numbers(module: Convolution) -> tuple[int, ...]:
    if isinstance(module.padding, str):
        raise TypeError("padding by name has no rule")
    return module.padding


def _classes_as_groups(maps: Tensor, classes: int) -> Tensor:
    """`[K * M, C, ...]` to `[M, K * C, ...]`."""
    return maps if classes == 1 else maps.unflatten(0, (classes, -1)).transpose(0, 1).flatten(1, 2)


def _lanes_first(maps: Tensor, lanes: int, classes: int, groups: int) -> Tensor:
    """`[M, K * groups * lanes * channels, ...]`, channels ordered like this, to `[lanes * K * M, groups * channels, ...]`."""
    batch, _, *side = maps.shape
    ordered = maps.reshape(batch, classes, groups, lanes, -1, *side)
    return ordered.permute(3, 1, 0, 2, *range(4, ordered.dim())).reshape(lanes * classes * batch, -1, *side)
