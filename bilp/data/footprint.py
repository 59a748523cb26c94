"""How much memory decoding a picture takes, as its header tells: what limits are compared with before a pixel is decoded."""

from __future__ import annotations

from PIL import PngImagePlugin
from PIL.ImageFile import ImageFile

DECODING_BYTES = 640 * 2**20
"""What the pictures that are decoded or waiting at the same time may take, and the most for a single one unless a setting allows more."""

# Bytes of a pixel in the image library; all other modes have four.
_OWN = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
# What readers hold beside the picture, in bytes per pixel: WebP its canvas and a frame.
_BESIDE = {"WEBP": 15}
# Likewise for each band: a progressive JPEG its coefficients.
_BESIDE_PER_BAND = {"JPEG": 2, "MPO": 2}
# How often readers hold the encoded file.
_COPIES = {"WEBP": 4}

_TEXTS = (b"zTXt", b"iTXt", b"iCCP")
_INFLATION = 1032  # of DEFLATE, at most


def footprint(image: ImageFile, data: bytes) -> int:
    """Bytes in use, at most, while `data` becomes an upright 8-bit picture of its own size; only the header of `image` was read."""
    width, height = image.size
    pixels = width * height
    own = _OWN.get(image.mode, 4)
    form, bands = image.format or "", len(image.getbands())
    if form == "PPM" and image.tile and image.tile[0][0] != "raw":
        beside = 3 * own  # these are read in Python, which copies
    else:
        beside = _BESIDE.get(form, 0) + _BESIDE_PER_BAND.get(form, 0) * bands
    stored = height * (8 + 3 + own * width)  # with an address of each row, and rows that are rounded up to four bytes
    reading = pixels * beside + unit_pixels(image) * (4 + 4 * bands)
    converting = pixels * (own if image.mode in ("L", "I;16", "I;16B", "I;16L", "I;16N") else 4)  # a second picture: upright, or RGB
    return stored + max(reading, converting) + _COPIES.get(form, 1) * len(data) + _text(image, data)


def unit_pixels(image: ImageFile) -> int:
    """Pixels of the strip or tile that libtiff decodes at once, 0 where it does not. A tile may be larger than the picture.

    Raises ValueError if a tag of the file says nonsense.
    """
    if not image.tile or image.tile[0][0] != "libtiff":
        return 0
    width, height = image.size
    return max(_tag(image, 322) * _tag(image, 323), min(_tag(image, 278) or height, height) * width)


def _tag(image: ImageFile, number: int) -> int:
    """The value of a numerical tag of TIFF, 0 without it."""
    value = getattr(image, "tag_v2", {}).get(number, 0)
    if not isinstance(value, int):
        raise ValueError(f"tag {number} is no number")
    return value


def _text(image: ImageFile, data: bytes) -> int:
    """What the compressed texts of a PNG take, at most, given the image library's limits for one of them and for all."""
    if image.format != "PNG":
        return 0
    total, place = 0, 8
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] in _TEXTS:
            total += min(_INFLATION * length, PngImagePlugin.MAX_TEXT_CHUNK)
        place += 12 + length
    return 3 * min(total, PngImagePlugin.MAX_TEXT_MEMORY)
