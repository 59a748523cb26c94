"""`grid_sample` whose derivative with respect to the images can be differentiated again, and batched, in every supported PyTorch.

PyTorch 2.11 knows no second derivative of it. With the grid constant there is little to know: the values are linear in the images, so
the first derivative is a linear map, the derivative of that one its transpose, which is `grid_sample` again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from bilp.images.device_constants import on_device
from bilp.images.frames import are_clips, as_frames, as_samples

# As numbers in the kernels: bilinear, zero outside of the image.
BILINEAR, ZEROS = 0, 0
# What the transpose of `sample_in_order` may hold at once: of all images, and of one (H times its size is all of it). The lanes of
# `is_grads_batched` come on top.
TRANSPOSED_BYTES, STRIP_BYTES = 2**30, 2**20


def sample_bilinearly(images: Tensor, grid: Tensor) -> Tensor:
    """Values `[n, C, H, W]` of images of that shape at positions `[n, H, W, 2]` (x, y) from -1 to 1, edges of the outer pixels.

    Zero outside of the image; the positions are constants.
    """
    result: Tensor = _Sampled.apply(images, grid)
    return result


def center_of_enlarged(images: Tensor) -> Tensor:
    """The center of images `[n, C, H, W]` whose sides are made H // 7 * 8 and W // 7 * 8, in their former size.

    ImageNet's programs test so: 256 pixels, of which the middle 224 count. Sides below 56 that this rounds back to themselves stay.
    Of clips, so is every frame.
    """
    if are_clips(images):
        return as_samples(center_of_enlarged(as_frames(images)), images)
    height, width = images.shape[-2:]
    enlarged = (height // 7 * 8, width // 7 * 8)
    if enlarged[0] <= height or enlarged[1] <= width:
        return images
    top, left = ((large - small) // 2 for large, small in zip(enlarged, (height, width), strict=True))
    whole = functional.interpolate(images, enlarged, mode="bilinear", align_corners=False)
    return whole[..., top : top + height, left : left + width]


def sample_in_order(images: Tensor, grid: Tensor) -> Tensor:
    """`sample_bilinearly`, whose derivatives sum in a fixed order on every device, which `grid_sample`'s do not on a GPU.

    The transpose spreads values by products of hat functions, a matrix product for each image.
    """
    axes = (on_device(_centers, length, device=grid.device, dtype=grid.dtype) for length in (images.shape[-1], images.shape[-2]))
    result: Tensor = _InOrder.apply(images, grid, *axes)
    return result


class _Sampled(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, grid: Tensor) -> Tensor:
        return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        images, grid = ctx.saved_tensors
        return _Spread.apply(gradient, images.detach(), grid), None


class _Spread(Function):
    """The transpose: every value goes back to the pixels that it came from. The kernel asks for the images, but only their shape counts."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, images: Tensor, grid: Tensor) -> Tensor:
        backward = torch.ops.aten.grid_sampler_2d_backward
        result: Tensor = backward(values, images, grid, BILINEAR, ZEROS, False, [True, False])[0]
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sampled.apply(cotangent, grid), None, None


class _InOrder(Function):
    """`grid_sample`; the centers of columns and rows, in pixels from the middle, are for the transpose."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, grid: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _Transposed.apply(gradient, *ctx.saved_tensors), None, None, None


class _Transposed(Function):
    """Every value goes back to the pixels that it came from. Of operations that `is_grads_batched` knows how to batch."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, grid: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        _, channels, height, width = values.shape
        of_row = values.element_size() * channels * height * width
        strip = max(1, min(height, STRIP_BYTES // of_row))
        images = max(1, TRANSPOSED_BYTES // (of_row * strip))
        parts = [_spread(part, places, columns, rows, strip) for part, places in zip(values.split(images), grid.split(images), strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None]:
        return _InOrder.apply(cotangent, *ctx.saved_tensors), None, None, None


def _spread(values: Tensor, grid: Tensor, columns: Tensor, rows: Tensor, strip: int) -> Tensor:
    """The transpose for values `[n, C, H, W]`, computed for `strip` rows of the images at a time."""
    count, channels, height, width = values.shape
    across = _hats(grid[..., 0], columns)
    flat = values.reshape(count, channels, 1, height * width)
    found = []
    for centers in rows.split(strip):
        down = _hats(grid[..., 1], centers, len(rows)).transpose(1, 2).unsqueeze(1)
        strips = (flat * down).reshape(count, channels * len(centers), height * width)
        found.append(strips.bmm(across).reshape(count, channels, len(centers), width))
    return found[0] if len(found) == 1 else torch.cat(found, dim=2)


def _hats(positions: Tensor, centers: Tensor, length: int | None = None) -> Tensor:
    """Weights `[n, P, L]` of pixels at `centers` `[L]`, of an axis of `length` (L unless given), at positions `[n, H, W]` from -1 to 1."""
    scale = (length or len(centers)) / 2
    return (1 - (positions.reshape(len(positions), -1, 1) * scale - centers).abs()).clamp(min=0)


def _centers(length: int) -> Tensor:
    return torch.arange(length, dtype=torch.float64) - (length - 1) / 2
