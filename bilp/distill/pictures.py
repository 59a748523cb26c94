"""The synthetic set as one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from bilp.data.whitening import Whitening
from bilp.images.frames import middle_frames

SHOWN = 100
"""Most rows and most columns of a grid."""
GAP = 1
"""Pixels between tiles, before enlarging."""
BACKGROUND = 255
VISIBLE = 32
"""Tiles are enlarged, by a whole factor, to at least this many pixels a side."""


def grid_png(images: Tensor, ipc: int, mean: Sequence[float], std: Sequence[float], whitening: Whitening | None = None) -> bytes:
    """PNG of images `[classes * ipc, C, H, W]` (normalized; C is 1 or 3), or of the middle frames of clips: a row per class.

    Whitening is undone, pixels are denormalized and clipped to [0, 1], for show only. At most 100 rows and 100 columns are shown. Equal
    images give equal bytes.

    Args:
        images: `[classes * ipc, C, H, W]` or clips `[classes * ipc, T, C, H, W]`, class by class.
        ipc: images per class.
        mean: mean of the normalization, one value per channel.
        std: its standard deviation likewise.
        whitening: the whitening of the images, if they are whitened.
    """
    cut = middle_frames(images.detach()).unflatten(0, (-1, ipc))[:SHOWN, :SHOWN]  # most of a thousand are not shown
    shaped = displayable(cut.flatten(0, 1), mean, std, whitening).unflatten(0, cut.shape[:2])
    rows, columns, channels, height, width = shaped.shape
    canvas = torch.full((channels, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), BACKGROUND, dtype=torch.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
            canvas[:, top : top + height, left : left + width] = shaped[row, column]
    factor = max(1, -(-VISIBLE // min(height, width)))
    canvas = canvas.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    array = canvas[0].numpy() if channels == 1 else canvas.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def displayable(images: Tensor, mean: Sequence[float], std: Sequence[float], whitening: Whitening | None = None) -> Tensor:
    """uint8 images of normalized ones `[n, C, H, W]`, or clips `[n, T, C, H, W]`: whitening undone, denormalized, clipped to [0, 1],
    rounded to 255 steps."""
    images = images.detach().to("cpu", torch.float32)
    if whitening is not None:
        images = whitening.undo(images)
    center, scale = (torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1) for values in (mean, std))
    return ((images * scale + center).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
