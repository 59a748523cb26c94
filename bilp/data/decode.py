"""Any picture -> uint8 array, by stated rules.

In this order:

1. Animated pictures: the first frame.
2. EXIF orientation is applied, so that arrays show what a viewer shows.
3. Depth: 16-bit grey becomes 8-bit as round(value / 257), so that 0 -> 0 and 65535 -> 255; with stated `bits`, as
   round(value / (2^bits - 1) * 255), and larger values are refused. 1-bit becomes 0 / 255. 16-bit colour keeps the high
   byte of each channel (Pillow's reading). 32-bit integer and floating-point pictures have no agreed range and are refused.
4. Transparency (alpha channel, transparent palette entry or transparent colour) is composited on white.
5. Colour: palette, CMYK, YCbCr, LAB and HSV become RGB; embedded colour profiles are not applied. A picture is grey
   if its file is (modes 1, L, LA, 16-bit grey), whatever its pixels are: a palette is colour.
   `colour="grey"` turns colour into luma (ITU-R 601: 0.299 R + 0.587 G + 0.114 B); `colour="rgb"` replicates grey to
   three equal channels; `colour="auto"` keeps each picture as it is, and a set that mixes both is stored as RGB.
6. Size: with a resolution, the shorter side is resized to it (bilinear with antialiasing, the longer side rounded to
   the nearest pixel), then the centre square is cut out; without one the picture keeps its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bilp.data.opening import DecodeError as DecodeError
from bilp.data.opening import opened

Colour = Literal["auto", "grey", "rgb"]
Pixels = NDArray[np.uint8]

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
SIXTEEN_BIT_FORMATS = ("PNG", "PPM")  # whose mode "I" is 16-bit grey scaled to 0..65535
GREY = ("1", "L", "LA", "La")
COLOURED = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
WHITE = (255, 255, 255, 255)


class OutOfRange(DecodeError):
    """A 16-bit picture with a value above those of `Conversion.bits`."""


@dataclass(frozen=True)
class Conversion:
    """What every picture of a set is turned into, and what is taken: colour, side in pixels (None keeps the size), the bits that
    values of 16-bit grey have (None is 16) and the largest number of pixels (None is the image library's limit)."""

    colour: Colour = "auto"
    resolution: int | None = None
    bits: int | None = None
    max_pixels: int | None = None


class Depth:
    """The largest value of all 16-bit grey pictures that were decoded; None before the first. Several threads may report to it."""

    def __init__(self) -> None:
        self.largest: int | None = None
        self._lock = Lock()

    def report(self, value: int) -> None:
        """A picture's largest value."""
        with self._lock:
            self.largest = value if self.largest is None else max(self.largest, value)


def decode(data: bytes, conversion: Conversion, depth: Depth | None = None) -> Pixels:
    """An encoded picture as uint8 [C, H, W], C in (1, 3), by the rules of this module; raises DecodeError.

    `depth` is told the largest value of a 16-bit picture.
    """
    if not data:
        raise DecodeError("empty file")
    try:
        return from_picture(opened(data, conversion.max_pixels), conversion, depth)
    except DecodeError:
        raise
    except Exception as error:  # Pillow's plugins answer damaged bytes with OSError, SyntaxError, ValueError, struct.error, ...
        raise DecodeError(f"damaged or truncated ({error})") from error


def from_array(pixels: Pixels, conversion: Conversion) -> Pixels:
    """Decoded pixels [H, W] (grey) or [H, W, 3] (RGB) as uint8 [C, H, W]: colour and size rules only."""
    return from_picture(Image.fromarray(pixels), conversion)


def from_picture(image: Image.Image, conversion: Conversion, depth: Depth | None = None) -> Pixels:
    """An opened picture as uint8 [C, H, W]; raises DecodeError for a mode without a stated conversion.

    `depth` is told the largest value of a 16-bit picture.
    """
    form = image.format  # a transposed picture has forgotten it
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and form in SIXTEEN_BIT_FORMATS):
        image = _from_sixteen_bit(image, conversion.bits or 16, depth or Depth())
    else:
        image = _eight_bit(image)
    if conversion.colour != "auto":
        image = image.convert("L" if conversion.colour == "grey" else "RGB")
    if conversion.resolution is not None:
        image = resize_and_crop(image, conversion.resolution)
    pixels: Pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resize_and_crop(image: Image.Image, side: int) -> Image.Image:
    """Shorter side resized to `side` (bilinear, antialiased), then the centre square of `side` x `side` pixels."""
    width, height = image.size
    short = min(width, height)
    if short != side:
        width, height = (max(side, round(length * side / short)) for length in (width, height))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _eight_bit(image: Image.Image) -> Image.Image:
    """The picture in mode L or RGB: transparency and colour model."""
    mode = image.mode
    if mode not in GREY and mode not in COLOURED:
        raise DecodeError(f"mode {mode} (32-bit or unknown) has no agreed range: convert it to 8 or 16 bits")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, WHITE), opaque).convert("RGB")
    return image.convert("L" if mode in GREY else "RGB")


def _from_sixteen_bit(image: Image.Image, bits: int, depth: Depth) -> Image.Image:
    """Mode L of a 16-bit picture whose values have `bits`; raises OutOfRange for one that has a larger value."""
    top = 2**bits - 1
    values = np.array(image).astype(np.int64)
    transparent = image.info.get("transparency")
    shown = values != transparent if isinstance(transparent, int) else np.ones(values.shape, dtype=np.bool_)
    largest = int(values.max(where=shown, initial=0))
    depth.report(largest)
    if largest > top:
        raise OutOfRange(
            f"holds the value {largest}, but ingest.bits {bits} means values up to {top}: "
            f"set it to {largest.bit_length()}, or leave it empty"
        )
    values[~shown] = top  # white
    return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))
