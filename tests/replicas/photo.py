"""Pictures that compress and decode as photographs do: noise of a natural image's spectrum around the color of a class."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

SIZE = (120, 90)
"""Width and height in pixels."""


def pixels(class_number: int, number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """uint8 [H, W, 3]: noise whose amplitude falls as 1/f, around a color that tells the class; the same for the same numbers."""
    width, height = size
    rng = np.random.default_rng([class_number, number])
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((3, height, width))) / frequency, (height, width))
    noise /= noise.std(axis=(1, 2), keepdims=True)
    color = np.random.default_rng([class_number]).integers(64, 192, 3)
    return np.clip(color[:, None, None] + 40 * noise, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def photo(class_number: int, number: int, size: tuple[int, int] = SIZE, mode: str = "RGB", **options: Any) -> bytes:
    """An encoded picture: JPEG of quality 90 with halved color channels, unless options of Pillow's `save` say otherwise."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels(class_number, number, size)).convert(mode)
    usual: dict[str, Any] = {"format": "JPEG", "quality": 90, **({"subsampling": 2} if mode == "RGB" else {})}
    image.save(buffer, **(usual | options))
    return buffer.getvalue()


def turned(class_number: int, number: int) -> bytes:
    """A JPEG whose tag says that it must be turned, though its pixels are upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return photo(class_number, number, exif=exif.tobytes())


def broken_exif(class_number: int, number: int) -> bytes:
    """A JPEG whose tags are cut off in the middle."""
    exif = Image.Exif()
    exif[0x010E] = "a description of some length"
    return photo(class_number, number, exif=exif.tobytes()[:20])
