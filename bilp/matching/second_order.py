"""Convolution and group norm whose derivatives are cheap to differentiate once more.

Matching differentiates a gradient. PyTorch's second derivative of a convolution also computes that of the weights,
even where nobody asks for it, and its second derivative of group norm is a chain of some thirty elementwise operations.
The operations here treat parameters as constants and know their derivatives with respect to the input in closed form.
They can be differentiated twice (first derivative and its derivative), not three times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv3d_input

Convolution = nn.Conv2d | nn.Conv3d
# By the dimensions of a kernel, in the plane and in space.
CONVOLVE: dict[int, Callable[..., Tensor]] = {4: functional.conv2d, 5: functional.conv3d}
INPUT_GRADIENT: dict[int, Callable[..., Tensor]] = {4: conv2d_input, 5: conv3d_input}


def convolve(images: Tensor, layer: Convolution) -> Tensor:
    """`layer(images)` for zero padding given in numbers; `[B, C, ...]` to `[B, C', ...]`."""
    bias = None if layer.bias is None else layer.bias.detach()
    geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
    result: Tensor = _Convolution.apply(images, layer.weight.detach(), bias, geometry)
    return result


def normalize_groups(maps: Tensor, layer: nn.GroupNorm) -> Tensor:
    """`layer(maps)`, `[B, C, ...]` to the same shape."""
    weight = None if layer.weight is None else layer.weight.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    result: Tensor = _GroupNorm.apply(maps.contiguous(), weight, bias, layer.num_groups, layer.eps)
    return result


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.save_for_forward(weight)
        ctx.geometry, ctx.shape = geometry, images.shape
        return CONVOLVE[weight.dim()](images, weight, bias, *geometry)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        (weight,) = ctx.saved_tensors
        return CONVOLVE[weight.dim()](tangent, weight, None, *ctx.geometry)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return _ConvolutionGradient.apply(gradient, weight, ctx.shape, ctx.geometry), None, None, None


class _ConvolutionGradient(Function):
    """Linear in the gradient, so its own derivative is the convolution again."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, shape: Sequence[int], geometry: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.save_for_forward(weight)
        ctx.geometry, ctx.shape = geometry, shape
        return INPUT_GRADIENT[weight.dim()](shape, weight, gradient, *geometry)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        (weight,) = ctx.saved_tensors
        return INPUT_GRADIENT[weight.dim()](ctx.shape, weight, tangent, *ctx.geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return CONVOLVE[weight.dim()](cotangent, weight, None, *ctx.geometry), None, None, None


class _GroupNorm(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float) -> Tensor:
        batch, channels = maps.shape[:2]
        values = maps[0, 0].numel()
        result, mean, scale = torch.native_group_norm(maps, weight, bias, batch, channels, values, groups, eps)
        ctx.save_for_backward(maps, mean, scale, weight)
        ctx.save_for_forward(maps, mean, scale, weight)
        ctx.groups = groups
        return result

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        maps, mean, scale, weight = ctx.saved_tensors
        result = _project(tangent.contiguous(), maps, mean, scale, None, ctx.groups)  # the derivative of z is symmetric
        return result if weight is None else result.mul_(weight.view(1, -1, *[1] * (maps.dim() - 2)))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, mean, scale, weight = ctx.saved_tensors
        return _GroupNormGradient.apply(gradient, maps, mean, scale, weight, ctx.groups), None, None, None, None


class _GroupNormGradient(Function):
    """P(w e) for the gradient e and the weight w, with P(h) = r (h - mean h - z mean(h z)) per group.

    z = (x - m) r are the normalized maps, m and r mean and inverse deviation. P is symmetric in h, so the derivative
    with respect to e is w P(v) for a cotangent v. With n values per group, a = mean(v z), b = mean(h z) and
    c = mean(v h) - mean(v) mean(h), the derivative of <v, P(h)> with respect to x is
    -r^2 [ b (v - mean v) + a (h - mean h) + (c - 3 a b) z ].
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor | None, groups: int) -> Tensor:
        gradient = gradient.contiguous()
        ctx.save_for_backward(gradient, maps, mean, scale, weight)
        ctx.save_for_forward(gradient, maps, mean, scale, weight)
        ctx.groups = groups
        return _project(gradient, maps, mean, scale, weight, groups)

    @staticmethod
    def jvp(ctx: Any, gradient_tangent: Tensor | None, maps_tangent: Tensor | None, *_: Any) -> Tensor:
        """P(h) is the gradient of <h, z> by x, so its derivative with respect to x is a Hessian, which is symmetric."""
        gradient, maps, mean, scale, weight = ctx.saved_tensors
        result = torch.zeros_like(maps)
        if gradient_tangent is not None:
            result = _project(gradient_tangent.contiguous(), maps, mean, scale, weight, ctx.groups)
        if maps_tangent is not None:
            result = result.add_(_derivative_by_maps(maps_tangent.contiguous(), gradient, maps, mean, scale, weight, ctx.groups))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        gradient, maps, mean, scale, weight = ctx.saved_tensors
        cotangent = cotangent.contiguous()
        to_gradient = to_maps = None
        if ctx.needs_input_grad[0]:
            to_gradient = _project(cotangent, maps, mean, scale, None, ctx.groups)
            if weight is not None:
                to_gradient.mul_(weight.view(1, -1, *[1] * (maps.dim() - 2)))
        if ctx.needs_input_grad[1]:
            to_maps = _derivative_by_maps(cotangent, gradient, maps, mean, scale, weight, ctx.groups)
        return to_gradient, to_maps, None, None, None, None


def _project(gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor | None, groups: int) -> Tensor:
    batch, channels = maps.shape[:2]
    values = maps[0, 0].numel()
    backward = torch.ops.aten.native_group_norm_backward
    result: Tensor = backward(gradient, maps, mean, scale, weight, batch, channels, values, groups, [True, False, False])[0]
    return result


def _derivative_by_maps(
    cotangent: Tensor, gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor | None, groups: int
) -> Tensor:
    """The formula above as one linear combination of v, e and x, with coefficients from sums per channel."""
    batch, channels = maps.shape[:2]
    v, e, x = cotangent.flatten(2), gradient.flatten(2), maps.flatten(2)
    w = torch.ones((), dtype=x.dtype, device=x.device).expand(channels) if weight is None else weight
    size = x.shape[2] * (channels // groups)

    def group_mean(per_channel: Tensor) -> Tensor:
        return per_channel.view(batch, groups, -1).sum(2) / size

    mean_v, mean_h = group_mean(v.sum(2)), group_mean(w * e.sum(2))
    a = scale * (group_mean(torch.linalg.vecdot(v, x)) - mean * mean_v)
    b = scale * (group_mean(w * torch.linalg.vecdot(e, x)) - mean * mean_h)
    c = group_mean(w * torch.linalg.vecdot(v, e)) - mean_v * mean_h
    factor = -scale.square()
    by_x = factor * scale * (c - 3.0 * a * b)
    constant = -factor * (b * mean_v + a * mean_h) - by_x * mean

    def per_channel(per_group: Tensor) -> Tensor:
        return per_group.unsqueeze(2).expand(-1, -1, channels // groups).reshape(batch, channels, 1)

    result = v * per_channel(factor * b)
    result.addcmul_(e, per_channel(factor * a) * w.view(1, -1, 1))
    result.addcmul_(x, per_channel(by_x)).add_(per_channel(constant))
    return result.view(maps.shape)
