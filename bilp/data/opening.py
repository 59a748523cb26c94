"""Open an encoded picture: its format from the first bytes, its size from the header, before a pixel is decoded."""

from __future__ import annotations

import io
import struct
from threading import Lock

from PIL import Image
from PIL.ImageFile import ImageFile

# Pillow warns of a picture of more than MAX_IMAGE_PIXELS and refuses one of twice as many.
LIBRARY_LIMIT = None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS

_raising = Lock()


class DecodeError(Exception):
    """Bytes that are no whole picture; the message is the reason, short enough for one line of a list."""


def opened(data: bytes, max_pixels: int | None = None) -> ImageFile:
    """The picture in `data`, of at most `max_pixels` (None: the image library's limit), decoded.

    Raises DecodeError for what is no picture or a larger one, and whatever Pillow raises for damaged bytes.
    """
    limit = max_pixels or LIBRARY_LIMIT
    if limit is not None:
        _let_pass(limit)
    try:
        image = _identified(data)
        width, height = image.size
        if limit is not None and width * height > limit:
            raise DecodeError(
                f"too large ({width} x {height} = {width * height:,} pixels, the limit is {limit:,}): "
                f"set ingest.max_pixels to {width * height} or more to take it"
            )
        image.load()
    except Image.DecompressionBombError as error:  # a reader that looks for itself, or a picture within a picture
        raise DecodeError(f"too large ({error}): set ingest.max_pixels to take it, if it is no attack") from error
    return image


def _let_pass(limit: int) -> None:
    """Readers of some formats check sizes themselves: let them neither warn of nor refuse what we allow.

    The library's own limit is a variable of the whole process. It is only ever raised, so that threads with different limits
    cannot disturb one another; the limit of a picture is compared in `opened`.
    """
    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        with _raising:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)


def _identified(data: bytes) -> ImageFile:
    """As `Image.open`, which however warns of or refuses large pictures before anybody can compare their size with another limit."""
    tried: set[str] = set()
    for load_readers in (Image.preinit, Image.init):  # the common formats first; all others take longer to import
        load_readers()
        for form in [form for form in Image.ID if form not in tried]:
            tried.add(form)
            image = _read_as(form, data)
            if image is not None:
                return image
    raise DecodeError("not an image in a known format")


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
