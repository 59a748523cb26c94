"""Open an encoded picture: its format from the first bytes, its size from the header, before a pixel is decoded.

Formats are named. The image library knows some forty, among them ones that it hands to other programs (EPS to Ghostscript) or
only identifies, and reads whatever the first bytes say, under any file name. Those of FORMATS are decoded within the process.
"""

from __future__ import annotations

import io
import struct
import warnings
from importlib import import_module
from threading import Lock

from PIL import Image
from PIL.ImageFile import ImageFile

from bilp.data.footprint import DECODING_BYTES, footprint, unit_pixels

# Pillow says it on standard error, with the path of its own module, once for a whole data set; such tags count as absent.
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is read. JPEG includes MPO, the several pictures in one file of some cameras; PPM includes PBM, PGM and PNM.

AVIF and JPEG 2000 are not among them: what decoding them takes cannot be told from the header. The former's decoder makes frames as
large as the video stream says; the latter needs anything from 6 to more than 60 bytes for a pixel of each band.
"""
_NOT_READ = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"\xd7\xcd\xc6\x9a": "a Windows metafile",
    b"8BPS": "a Photoshop document",
    b"<svg": "SVG",
    b"\x00\x00\x01\x00": "an icon",
    b"icns": "an icon",
    b"DDS ": "a DirectX texture",
    b"SIMP": "FITS",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0c": "JPEG 2000 or JPEG XL",
}
"""How files begin that people take for pictures, and what they are."""
_READERS = ("Png", "Jpeg", "WebP", "Gif", "Bmp", "Tiff", "Ppm")

# Pillow warns of a picture of more than MAX_IMAGE_PIXELS and refuses one of twice as many.
LIBRARY_LIMIT = None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS
MOST_RATIO = 1000
"""The longer side of a picture over the shorter one."""
FILE_BYTES = 2**28
"""The largest file that is read unless `max_pixels` says otherwise."""
UNIT_PIXELS = 2**24
"""A tile of TIFF may be larger than the picture up to here."""

_raising = Lock()


class DecodeError(Exception):
    """Bytes that are no whole picture; the message is the reason, short enough for one line of a list."""


for _name in _READERS:
    import_module(f"PIL.{_name}ImagePlugin")


def opened(data: bytes, max_pixels: int | None = None) -> ImageFile:
    """The picture in `data`, decoded; raises as `header` does."""
    image = header(data, max_pixels)
    try:
        image.load()
    except Image.DecompressionBombError as error:  # a picture within a picture
        raise _too_large(error) from error
    return image


def header(data: bytes, max_pixels: int | None = None) -> ImageFile:
    """The picture in `data`, of which the header alone was read.

    It has at most `max_pixels`; without that, as many as are decoded within DECODING_BYTES, and no more than the image library's
    limit. Raises DecodeError for what is no picture of a format that is read, a larger or a more elongated one, and whatever
    Pillow raises for damaged bytes.
    """
    limit = max_pixels or LIBRARY_LIMIT
    if limit is not None:
        _let_pass(limit)
    try:
        image = _identified(data)
    except Image.DecompressionBombError as error:  # a reader that looks for itself
        raise _too_large(error) from error
    width, height = image.size
    if min(width, height) < 1:
        raise DecodeError(f"holds no pixels ({width} x {height})")
    if max(width, height) > MOST_RATIO * min(width, height):
        raise DecodeError(f"too elongated ({width} x {height}, the limit is {MOST_RATIO:,} to 1): cut it into pieces")
    if limit is None or width * height <= limit:
        if unit_pixels(image) > max(width * height, UNIT_PIXELS):
            raise DecodeError(f"damaged (a tile of {unit_pixels(image):,} pixels in a picture of {width} x {height})")
        needed = footprint(image, data)
        if max_pixels is None and needed > DECODING_BYTES:
            limit = width * height * DECODING_BYTES // needed
    if limit is not None and width * height > limit:
        raise DecodeError(
            f"too large ({width} x {height} = {width * height:,} pixels, the limit is {limit:,}): "
            f"set ingest.max_pixels to {width * height} or more to take it"
        )
    return image


def check_file(size: int, max_pixels: int | None = None) -> None:
    """Raise DecodeError if an encoded picture has more bytes than one of `max_pixels` can need; nothing of it is read before."""
    limit = max(FILE_BYTES, 8 * (max_pixels or 0))
    if size > limit:
        raise DecodeError(
            f"too large a file ({size:,} bytes, the limit is {limit:,}): compress it, or set ingest.max_pixels to {-(-size // 8)} or more"
        )


def _too_large(error: Image.DecompressionBombError) -> DecodeError:
    return DecodeError(f"too large ({error}): set ingest.max_pixels to take it, if it is no attack")


def _let_pass(limit: int) -> None:
    """Readers of some formats check sizes themselves: let them neither warn of nor refuse what we allow.

    The library's own limit is a variable of the whole process. It is only ever raised, so that threads with different limits
    cannot disturb one another; the limit of a picture is compared in `header`.
    """
    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        with _raising:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)


def _identified(data: bytes) -> ImageFile:
    """As `Image.open`, which however warns of or refuses large pictures before anybody can compare their size with another limit."""
    for form in FORMATS:
        image = _read_as(form, data)
        if image is not None:
            return image
    found = _NOT_READ.get(data[:64].lstrip()[:4]) or ("HEIF, AVIF or a video" if data[4:8] == b"ftyp" else None)
    if found is None:
        raise DecodeError(f"not an image in a known format ({', '.join(FORMATS)})")
    raise DecodeError(f"is {found}, which is not read: convert it to PNG")


def _read_as(form: str, data: bytes) -> ImageFile | None:
    """The picture with its header read, or None if it is none of this format."""
    read, accepts = Image.OPEN[form]
    try:
        verdict = accepts(data[:16]) if accepts else True
        if isinstance(verdict, str) or not verdict:  # text says why it cannot be read
            return None
        return read(io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error):  # how readers say that it is not theirs after all
        return None
