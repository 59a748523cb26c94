"""Frames of any size -> frames of the size that is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from bilp.data.decode import Color, Pixels, resize_and_crop
from bilp.data.opening import DecodeError

LARGEST = 2**26
"""Pixels of a frame that is decoded unless ingest.max_pixels says otherwise: 8K has half as many."""


@dataclass(frozen=True)
class FrameSize:
    """What becomes of every frame: first resized to `before` (width, height) if that is given, then cut to the center square of `side`.

    Without `before`, the shorter side is resized to `side` and the center square cut out, or both sides are if it is `stretched`.
    Without `side` frames keep the size that they then have.
    """

    color: Color
    side: int | None
    before: tuple[int, int] | None = None
    stretched: bool = False
    max_pixels: int | None = None
    filter: str = "bilinear"

    def check(self, width: int, height: int) -> None:
        """Raise DecodeError for frames of more pixels than the limit."""
        limit = self.max_pixels or LARGEST
        if width * height > limit:
            raise DecodeError(
                f"too large (frames of {width} x {height} = {width * height:,} pixels, the limit is {limit:,}): "
                f"set ingest.max_pixels to {width * height} or more to take it"
            )

    def pixels(self, image: Image.Image) -> Pixels:
        """A frame, in mode L or RGB, as uint8 [C, side, side], or [C, H, W] without a side."""
        image = self._resized(image)
        if self.color != "auto":
            image = image.convert("L" if self.color == "gray" else "RGB")
        found = np.array(image, dtype=np.uint8)
        return found[None] if found.ndim == 2 else np.ascontiguousarray(found.transpose(2, 0, 1))

    def _resized(self, image: Image.Image) -> Image.Image:
        side, by = self.side, Image.Resampling[self.filter.upper()]
        if side is None:
            return image
        if self.before is None:
            return image.resize((side, side), by) if self.stretched else resize_and_crop(image, side, by)
        image = image if image.size == self.before else image.resize(self.before, by)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return image.crop((left, top, left + side, top + side))
