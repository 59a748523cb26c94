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

# As numbers in the kernels: bilinear, zero outside of the image.
BILINEAR, ZEROS = 0, 0


def sample_bilinearly(images: Tensor, grid: Tensor) -> Tensor:
    """Values `[n, C, H, W]` of images of that shape at positions `[n, H, W, 2]` (x, y) from -1 to 1, edges of the outer pixels.

    Zero outside of the image; the positions are constants.
    """
    result: Tensor = _Sampled.apply(images, grid)
    return result


def center_of_enlarged(images: Tensor) -> Tensor:
    """The center of images `[n, C, H, W]` whose sides are made H // 7 * 8 and W // 7 * 8, in their former size.

    ImageNet's programs test so: 256 pixels, of which the middle 224 count. Sides below 56 that this rounds back to themselves stay.
    """
    height, width = images.shape[-2:]
    enlarged = (height // 7 * 8, width // 7 * 8)
    if enlarged[0] <= height or enlarged[1] <= width:
        return images
    top, left = ((large - small) // 2 for large, small in zip(enlarged, (height, width), strict=True))
    whole = functional.interpolate(images, enlarged, mode="bilinear", align_corners=False)
    return whole[..., top : top + height, left : left + width]


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
