"""Any picture -> uint8 array, by stated rules.

In this order:

1. Animated pictures: the first frame.
2. EXIF orientation is applied, so that arrays show what a viewer shows; in public data sets whose pixels are upright as they are
   distributed, whatever their tags say, it is ignored (`Conversion.orientation`).
3. Depth: 16-bit gray becomes 8-bit as round(value / 257), so that 0 -> 0 and 65535 -> 255; with stated `bits`, as
   round(value / (2^bits - 1) * 255), and larger values are refused. 1-bit becomes 0 / 255. 16-bit color keeps the high
   byte of each channel (Pillow's reading). 32-bit integer and floating-point pictures have no agreed range and are refused.
4. Transparency (alpha channel, transparent palette entry or transparent color) is composited on white.
5. Color: palette, CMYK, YCbCr, LAB and HSV become RGB; embedded color profiles are not applied. A picture is gray
   if its file is (modes 1, L, LA, 16-bit gray), whatever its pixels are: a palette is color.
   `color="gray"` turns color into luma (ITU-R 601: 0.299 R + 0.587 G + 0.114 B); `color="rgb"` replicates gray to
   three equal channels; `color="auto"` keeps each picture as it is, and a set that mixes both is stored as RGB.
6. Size: with a resolution, the shorter side is resized to it (bilinear with antialiasing unless `filter` says otherwise, the
   longer side rounded to the nearest pixel), then the center square is cut out; without one the picture keeps its size. Of a
   picture so long that most of it would be resized for nothing (see `resize_and_crop`), the center square is cut out first.
   With `fit="stretch"` both sides are resized to the resolution and nothing is cut out.

Rules 3 to 5 are applied to some rows after another, so that a large picture is never held more than twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bilp.data.footprint import footprint
from bilp.data.opening import DecodeError, header, opened

Color = Literal["auto", "gray", "rgb"]
Fit = Literal["crop", "stretch"]
Filter = Literal["bilinear", "box", "bicubic", "lanczos"]
Orientation = Literal["apply", "ignore"]
Pixels = NDArray[np.uint8]

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
SIXTEEN_BIT_FORMATS = ("PNG", "PPM")  # whose mode "I" is 16-bit gray scaled to 0..65535
GRAY = ("1", "L", "LA", "La")
COLORED = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
WHITE = (255, 255, 255, 255)
STRIP_PIXELS = 2**20
"""Pixels that are converted at once."""
RESIZED_PIXELS = 2**24
"""A picture may have as many when it is resized before its center is cut out, and twice as many as are cut out."""

Rule = Callable[[Image.Image], Image.Image]
"""Turns some rows of a picture into mode L or RGB, each pixel by itself."""


class OutOfRange(DecodeError):
    """A 16-bit picture with a value above those of `Conversion.bits`."""


@dataclass(frozen=True)
class Conversion:
    """What every picture of a set is turned into, and what is taken: color, side in pixels (None keeps the size), the bits that
    values of 16-bit gray have (None is 16), the largest number of pixels (None is the image library's limit), how a picture is
    brought to a square, by which filter, and what becomes of its EXIF orientation."""

    color: Color = "auto"
    resolution: int | None = None
    bits: int | None = None
    max_pixels: int | None = None
    fit: Fit = "crop"
    filter: Filter = "bilinear"
    orientation: Orientation = "apply"


class Depth:
    """What is told of pictures while they are decoded, by several threads at once: the largest value of all 16-bit gray ones, None
    before the first, and how many clips had too few frames."""

    def __init__(self) -> None:
        self.largest: int | None = None
        self.short = 0
        self._lock = Lock()

    def report_short(self) -> None:
        """A clip of which a frame is taken more than once."""
        with self._lock:
            self.short += 1

    def report(self, value: int) -> None:
        """A picture's largest value."""
        with self._lock:
            self.largest = value if self.largest is None else max(self.largest, value)


def decode(data: bytes, conversion: Conversion, depth: Depth | None = None) -> Pixels:
    """An encoded picture as uint8 [C, H, W], C in (1, 3), by the rules of this module; raises DecodeError.

    `depth` is told the largest value of a 16-bit picture.
    """
    with _told(data):
        return from_picture(opened(data, conversion.max_pixels), conversion, depth)
    raise AssertionError("unreachable")


def required_bytes(data: bytes, conversion: Conversion) -> int:
    """Bytes that `decode` takes, at most, with its result, from the header alone; raises DecodeError for a picture that it refuses."""
    with _told(data):
        image = header(data, conversion.max_pixels)
        return footprint(image, data) + working_bytes(image.size, conversion)
    raise AssertionError("unreachable")


@contextmanager
def _told(data: bytes) -> Iterator[None]:
    """Whatever reading `data` raises, but a lack of memory, as a DecodeError."""
    if not data:
        raise DecodeError("empty file")
    try:
        yield
    except (DecodeError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins answer damaged bytes with OSError, SyntaxError, ValueError, struct.error, ...
        raise DecodeError(f"damaged or truncated ({error})") from error


def from_array(pixels: Pixels, conversion: Conversion) -> Pixels:
    """Decoded pixels [H, W] (gray) or [H, W, 3] (RGB) as uint8 [C, H, W]: color and size rules only."""
    return from_picture(Image.fromarray(pixels), conversion)


def from_picture(image: Image.Image, conversion: Conversion, depth: Depth | None = None) -> Pixels:
    """An opened picture, which is changed, as uint8 [C, H, W]; raises DecodeError for a mode without a stated conversion.

    `depth` is told the largest value of a 16-bit picture.
    """
    if conversion.orientation == "apply":
        ImageOps.exif_transpose(image, in_place=True)
    side = conversion.resolution
    if side is None:
        return _pixels(image, _rule(image, conversion, depth or Depth()))
    whole = image
    if conversion.fit == "crop" and _resized_size(image.size, side) is None:
        whole = _center(image, min(image.size))
        whole.format = image.format
    converted = _converted(whole, _rule(whole, conversion, depth or Depth()))
    resampling = Image.Resampling[conversion.filter.upper()]
    if conversion.fit == "stretch":
        return _pixels(converted if converted.size == (side, side) else converted.resize((side, side), resampling), _unchanged)
    return _pixels(resize_and_crop(converted, side, resampling), _unchanged)


def resize_and_crop(image: Image.Image, side: int, resampling: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    """Shorter side resized to `side` (antialiased), then the center square of `side` x `side` pixels.

    If the resized picture had more than RESIZED_PIXELS, and more than twice as many as are left, the center square of the picture
    is cut out first and then resized.
    """
    size = _resized_size(image.size, side)
    if size is None:
        image, size = _center(image, min(image.size)), (side, side)
    if image.size != size:
        image = image.resize(size, resampling)
    return _center(image, side)


def _resized_size(size: tuple[int, int], side: int) -> tuple[int, int] | None:
    """Width and height once the shorter of `size` is `side`; None if so large a picture is not to be made."""
    short = min(size)
    width, height = (length if short == side else max(side, round(length * side / short)) for length in size)
    return None if width * height > max(RESIZED_PIXELS, 2 * side * side) and short != side else (width, height)


def working_bytes(size: tuple[int, int], conversion: Conversion) -> int:
    """Bytes that resizing takes, at most, and the result, for a picture of this width and height."""
    side = conversion.resolution
    if side is None:
        return 3 * size[0] * size[1]
    resized = (side, side) if conversion.fit == "stretch" else _resized_size(size, side)
    width, height = resized or (side, side)
    return 4 * width * ((size[1] if resized else min(size)) + height) + 7 * side * side


def _center(image: Image.Image, side: int) -> Image.Image:
    """The square of `side` x `side` pixels in the middle."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The picture in pieces of some rows each, and the number of their first row."""
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _converted(image: Image.Image, rule: Rule) -> Image.Image:
    """The picture in mode L or RGB."""
    if rule is _unchanged:
        return image
    whole: Image.Image | None = None
    for top, strip in _strips(image):
        part = rule(strip)
        if part.size == image.size:
            return part
        whole = whole or Image.new(part.mode, image.size)
        whole.paste(part, (0, top))
    assert whole is not None
    return whole


def _pixels(image: Image.Image, rule: Rule) -> Pixels:
    """The picture as uint8 [C, H, W]."""
    pixels: Pixels | None = None
    for top, strip in _strips(image):
        part = np.asarray(rule(strip), dtype=np.uint8)
        part = part[None] if part.ndim == 2 else part.transpose(2, 0, 1)
        if pixels is None:
            pixels = np.empty((len(part), image.height, image.width), dtype=np.uint8)
        pixels[:, top : top + part.shape[1]] = part
    assert pixels is not None
    return pixels


def _unchanged(image: Image.Image) -> Image.Image:
    return image


def _rule(image: Image.Image, conversion: Conversion, depth: Depth) -> Rule:
    """How this picture becomes one of mode L or RGB; raises DecodeError for a mode without a stated conversion."""
    mode, color = image.mode, conversion.color
    wanted = {"auto": "L" if mode in GRAY else "RGB", "gray": "L", "rgb": "RGB"}[color]
    if mode in SIXTEEN_BIT or (mode == "I" and image.format in SIXTEEN_BIT_FORMATS):
        to_eight = _from_sixteen_bit(image, conversion.bits or 16, depth)
        return to_eight if color != "rgb" else lambda strip: to_eight(strip).convert("RGB")
    if mode not in GRAY and mode not in COLORED:
        raise DecodeError(f"mode {mode} (32-bit or unknown) has no agreed range: convert it to 8 or 16 bits")
    if mode == wanted and not image.has_transparency_data:
        return _unchanged
    return lambda strip: _eight_bit(strip).convert(wanted)


def _eight_bit(image: Image.Image) -> Image.Image:
    """The picture in mode L or RGB: transparency and color model."""
    mode = image.mode
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, WHITE), opaque).convert("RGB")
    return image.convert("L" if mode in GRAY else "RGB")


def _from_sixteen_bit(image: Image.Image, bits: int, depth: Depth) -> Rule:
    """How a 16-bit picture whose values have `bits` becomes one of mode L; raises OutOfRange for one that has a larger value."""
    top = 2**bits - 1
    transparent = image.info.get("transparency")

    def values_of(strip: Image.Image) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        values = np.array(strip).astype(np.int64)
        return values, values != transparent if isinstance(transparent, int) else np.ones(values.shape, dtype=np.bool_)

    def convert(strip: Image.Image) -> Image.Image:
        values, shown = values_of(strip)
        values[~shown] = top  # white
        return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))

    largest = max(int(values.max(where=shown, initial=0)) for values, shown in (values_of(strip) for _, strip in _strips(image)))
    depth.report(largest)
    if largest > top:
        raise OutOfRange(
            f"holds the value {largest}, but ingest.bits {bits} means values up to {top}: "
            f"set it to {largest.bit_length()}, or leave it empty"
        )
    return convert
