"""Bilinear enlargement of images as products with matrices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bilp.images.device_constants import on_device


def enlarged(images: Tensor, height: int, width: int) -> Tensor:
    """Images `[..., h, w]` enlarged bilinearly to `[..., height, width]`; differentiable, and as they are if they have that size."""
    tall, wide = images.shape[-2:]
    if (tall, wide) == (height, width):
        return images
    down, along = (on_device(enlarging, *sizes, device=images.device, dtype=images.dtype) for sizes in ((tall, height), (wide, width)))
    return down @ images @ along.T


def enlarging(side: int, size: int) -> Tensor:
    """A `[size, side]`: A x is x `[side]` enlarged linearly. Products have derivatives of the same bytes, a GPU's interpolation has not."""
    return functional.interpolate(torch.eye(side).unsqueeze(0), size, mode="linear").squeeze(0).T.contiguous()
