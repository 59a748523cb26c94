"""Instance norm, ReLU and average pooling as one operation of PyTorch, with its derivative, its second one, and a rule for vmap.

On a GPU these are the Triton kernels of `triton_kernels`; elsewhere the same in PyTorch's own operations, which is what the kernels are
tested against and what carries the second derivative, which few need.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.library import Library, register_fake
from torch.nn import functional


def norm_relu_pool(maps: Tensor, weight: Tensor, bias: Tensor, window: int, epsilon: float, cancelled: Tensor | None = None) -> Tensor:
    """Means over window x window squares of relu(instance norm of the maps): `[B, C, H, W]` to `[B, C, H // window, W // window]`.

    Args:
        maps: float32, bfloat16 or float16; channels last where that is to cost no copy.
        weight: Scale of each channel `[C]`.
        bias: Shift of each channel `[C]`.
        window: Side of the squares; 1 for no pooling.
        epsilon: Added to the variance.
        cancelled: The bias of a convolution before, which was left out because the norm subtracts it again; gets a gradient of 0.
    """
    result: Tensor = _NormReluPool.apply(maps, weight, bias, cancelled, window, epsilon)[0]
    return result


def composed(maps: Tensor, weight: Tensor, bias: Tensor, window: int, epsilon: float) -> Tensor:
    """The same, the definition: one operation of PyTorch after the other."""
    normalized = functional.relu(functional.group_norm(maps, maps.shape[1], weight, bias, epsilon))
    return functional.avg_pool2d(normalized, window) if window > 1 else normalized


def _forward(maps: Tensor, weight: Tensor, bias: Tensor, window: int, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """The result, and mean and inverse deviation `[B, C]` of the maps, in what is computed in."""
    batch, channels = maps.shape[:2]
    values = maps[0, 0].numel()
    normalized, mean, scale = torch.native_group_norm(maps.contiguous(), weight, bias, batch, channels, values, channels, epsilon)
    active = functional.relu(normalized)
    result = functional.avg_pool2d(active, window) if window > 1 else active
    exact = _exact(maps)
    return result.contiguous(memory_format=torch.channels_last), mean.to(exact), scale.to(exact)


def _forward_by_kernel(maps: Tensor, weight: Tensor, bias: Tensor, window: int, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    from bilp.nets.fused import triton_kernels  # Triton takes a second to import, and not every PyTorch has it

    return triton_kernels.forward(maps, weight, bias, window, epsilon)


def _backward(
    gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, window: int
) -> tuple[Tensor, Tensor]:
    """The gradient with respect to the maps; every sample's part of that of weight, bias and what cancels, `[3, B, C]`, the last 0."""
    exact = _exact(maps)
    z = (maps.to(exact) - mean[:, :, None, None]) * scale[:, :, None, None]
    w, b = (own.to(exact).view(1, -1, 1, 1) for own in (weight, bias))
    e = torch.where(z * w + b <= 0.0, 0.0, _spread(gradient.to(exact), maps, window))
    by_weight, by_bias = (e * z).sum(dim=(2, 3)), e.sum(dim=(2, 3))
    values = maps[0, 0].numel()
    found = scale[:, :, None, None] * w * (e - by_bias[:, :, None, None] / values - z * (by_weight / values)[:, :, None, None])
    sums = torch.stack([by_weight, by_bias, torch.zeros_like(by_bias)])
    return found.to(maps.dtype).contiguous(memory_format=torch.channels_last), sums


def _backward_by_kernel(
    gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, window: int
) -> tuple[Tensor, Tensor]:
    from bilp.nets.fused import triton_kernels

    return triton_kernels.backward(gradient, maps, mean, scale, weight, bias, window)


def _shapes(maps: Tensor, weight: Tensor, bias: Tensor, window: int, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, height, width = maps.shape
    result = maps.new_empty(batch, channels, height // window, width // window)
    mean = maps.new_empty(batch, channels, dtype=_exact(maps))
    return result.contiguous(memory_format=torch.channels_last), mean, torch.empty_like(mean)


def _gradient_shapes(
    gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, window: int
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(maps, memory_format=torch.channels_last), mean.new_empty(3, *mean.shape)


# Known to PyTorch's dispatcher, so that the device decides, and compilers and whatever counts operations see one operation each.
_LIBRARY = Library("bilp", "FRAGMENT")
_LIBRARY.define("norm_relu_pool(Tensor maps, Tensor weight, Tensor bias, int window, float epsilon) -> (Tensor, Tensor, Tensor)")
_LIBRARY.define(
    "norm_relu_pool_backward(Tensor gradient, Tensor maps, Tensor mean, Tensor scale, Tensor weight, Tensor bias, int window) "
    "-> (Tensor, Tensor)"
)
for _name, _written, _by_kernel, _shaped in (
    ("norm_relu_pool", _forward, _forward_by_kernel, _shapes),
    ("norm_relu_pool_backward", _backward, _backward_by_kernel, _gradient_shapes),
):
    _LIBRARY.impl(_name, _written, "CPU")
    _LIBRARY.impl(_name, _by_kernel, "CUDA")
    register_fake(f"bilp::{_name}", _shaped, lib=_LIBRARY)


def _exact(maps: Tensor) -> torch.dtype:
    """What is computed in: float32, or float64 where maps are."""
    return torch.promote_types(maps.dtype, torch.float32)


def _spread(gradient: Tensor, maps: Tensor, window: int) -> Tensor:
    """The gradient of the means as that of each value, `[B, C, H, W]`; 0 where an odd side leaves values out."""
    height, width = maps.shape[-2:]
    wide = (gradient / window**2).repeat_interleave(window, dim=2).repeat_interleave(window, dim=3)
    return functional.pad(wide, (0, width - wide.shape[3], 0, height - wide.shape[2]))


class _NormReluPool(Function):
    """The operation with its derivative; mean and inverse deviation are results that nobody differentiates."""

    @staticmethod
    def forward(
        maps: Tensor, weight: Tensor, bias: Tensor, cancelled: Tensor | None, window: int, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.bilp.norm_relu_pool(maps, weight, bias, window, epsilon)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        maps, weight, bias, cancelled, ctx.window, ctx.epsilon = inputs
        _, mean, scale = output
        ctx.mark_non_differentiable(mean, scale)
        ctx.save_for_backward(maps, mean, scale, weight, bias, cancelled)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        maps, mean, scale, weight, bias, cancelled = ctx.saved_tensors
        by_maps, sums = _NormReluPoolGradient.apply(gradient, maps, mean, scale, weight, bias, ctx.window, ctx.epsilon)
        if not any(ctx.needs_input_grad[1:4]):
            return by_maps, None, None, None, None, None
        by_weight, by_bias, nothing = (part.to(weight.dtype) for part in sums.sum(dim=1))
        return by_maps, by_weight, by_bias, None if cancelled is None else nothing, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], maps: Tensor, *rest: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """K lanes are K times the channels, as after a convolution with a group for each lane."""
        lanes, (*parameters, window, epsilon) = info.batch_size, rest
        folded = _as_channels(maps, in_dims[0], lanes)
        own = [None if one is None else _flat(one, dim, lanes) for one, dim in zip(parameters, in_dims[1:4], strict=True)]
        found = _NormReluPool.apply(folded, *own, window, epsilon)
        return tuple(part.unflatten(1, (lanes, -1)) for part in found), (1, 1, 1)


class _NormReluPoolGradient(Function):
    """The derivative with its own derivative, by the definition."""

    @staticmethod
    def forward(
        gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, window: int, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        operation = torch.ops.bilp.norm_relu_pool_backward
        found: tuple[Tensor, Tensor] = operation(gradient, maps, mean, scale, weight, bias, window)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        gradient, maps, _, _, weight, bias, ctx.window, ctx.epsilon = inputs
        ctx.save_for_backward(gradient, maps, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_maps: Tensor, to_sums: Tensor) -> tuple[Tensor | None, ...]:
        """Every sample has a weight and a bias of its own here, whose gradients are the rows of the second result."""
        gradient, maps, weight, bias = (tensor.detach().requires_grad_() for tensor in ctx.saved_tensors)
        with torch.enable_grad():
            own_weight, own_bias = (own.unsqueeze(0).repeat(len(maps), 1) for own in (weight, bias))
            value = _by_sample(maps, own_weight, own_bias, ctx.window, ctx.epsilon)
            found = torch.autograd.grad(value, (maps, own_weight, own_bias), gradient, create_graph=True)
        asked = (to_maps, *(rows.to(weight.dtype) for rows in to_sums[:2]))
        by_gradient, by_maps, by_weight, by_bias = torch.autograd.grad(found, (gradient, maps, weight, bias), asked, materialize_grads=True)
        return by_gradient, by_maps, None, None, by_weight, by_bias, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        lanes, (*tensors, weight, bias, window, epsilon) = info.batch_size, given
        wide = [_as_channels(tensor, dim, lanes) for tensor, dim in zip(tensors, in_dims[:4], strict=True)]
        own = [_flat(one, dim, lanes) for one, dim in zip((weight, bias), in_dims[4:6], strict=True)]
        by_maps, sums = _NormReluPoolGradient.apply(*wide, *own, window, epsilon)
        return (by_maps.unflatten(1, (lanes, -1)), sums.unflatten(2, (lanes, -1))), (1, 2)


def _by_sample(maps: Tensor, weight: Tensor, bias: Tensor, window: int, epsilon: float) -> Tensor:
    """`composed` with a weight and a bias for each sample, `[B, C]`."""
    normalized = functional.group_norm(maps, maps.shape[1], eps=epsilon)
    active = functional.relu(normalized * weight[:, :, None, None] + bias[:, :, None, None])
    return functional.avg_pool2d(active, window) if window > 1 else active


def _as_channels(tensor: Tensor, dim: int | None, lanes: int) -> Tensor:
    """`[B, C, ...]` with an axis of lanes at `dim`, or without one, to `[B, K * C, ...]`."""
    if dim is None:
        return tensor.unsqueeze(1).expand(-1, lanes, *tensor.shape[1:]).flatten(1, 2)
    return tensor.movedim(dim, 1).flatten(1, 2)


def _flat(tensor: Tensor, dim: int | None, lanes: int) -> Tensor:
    """`[C]` of every lane, to `[K * C]`."""
    return tensor.repeat(lanes) if dim is None else tensor.movedim(dim, 0).flatten()
