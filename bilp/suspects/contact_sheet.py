"""The most suspicious samples as one picture, each with its rank, file, given and predicted label, and score."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from bilp.images.frames import middle_frames
from bilp.suspects.worst import Suspect
from bilp.text.escaping import shown

ACROSS, SIDE, TILE, LINE, MARGIN, HEAD = 10, 120, 172, 17, 12, 34
FONT = 13
INK, PAPER, ACCENT, QUIET = (24, 24, 28), (255, 255, 255), (176, 30, 30), (96, 96, 104)
LINES = 4
SPELLED = str.maketrans({"ß": "ss", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "Ø": "O", "ø": "o", "Ł": "L", "ł": "l", "Đ": "D", "đ": "d"})
"""Latin letters that are no letter of ASCII with an accent."""


def contact_sheet(title: str, suspects: Sequence[Suspect]) -> bytes:
    """A PNG file: `ACROSS` samples in a row, the most suspicious first. Equal samples give equal bytes of pixels.

    It is drawn with the font that Pillow brings, so that it is the same on every machine. That font has the letters of ASCII alone: accents
    are left out, a class whose name has other letters is shown by its number, and the page beside the sheet shows every name.
    """
    rows = max(1, -(-len(suspects) // ACROSS))
    columns = min(ACROSS, max(len(suspects), 3))
    height = SIDE + LINES * LINE + MARGIN
    sheet = Image.new("RGB", (2 * MARGIN + columns * TILE, HEAD + rows * height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN // 2), _fitting(_drawable(title), columns * TILE, 16), INK, font=_font(16))
    for place, suspect in enumerate(suspects):
        left, top = MARGIN + place % ACROSS * TILE, HEAD + place // ACROSS * height
        tile = _enlarged(suspect.image)
        sheet.paste(tile, (left, top + SIDE - tile.height))
        _label(draw, left, top + SIDE + 2, suspect)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _label(draw: ImageDraw.ImageDraw, left: int, top: int, suspect: Suspect) -> None:
    room = TILE - MARGIN
    lines = (
        (_fitting(f"{suspect.rank}  score {suspect.score:.3f}", room), QUIET),
        (_fitting(f"given {_class(suspect.given, suspect.given_class)}", room), INK),
        (_fitting(f"looks like {_class(suspect.predicted, suspect.predicted_class)}", room), ACCENT),
        (_fitting(_drawable(suspect.name), room, tail=True), QUIET),
    )
    for number, (words, color) in enumerate(lines):
        draw.text((left, top + number * LINE), words, color, font=_font(FONT))


def _enlarged(image: np.ndarray) -> Image.Image:
    """Small images by whole factors, pixel by pixel; larger ones reduced. Of a clip, its middle frame."""
    image = middle_frames(torch.from_numpy(image)[None])[0].numpy()
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))).convert("RGB")
    factor = SIDE // max(picture.size)
    if factor >= 1:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return picture


def _class(name: str, number: int) -> str:
    """The name of a class, or its number if the font lacks one of its letters."""
    line = _drawable(name)
    return f"class {number}" if "?" in line and "?" not in name else line


def _drawable(text: str) -> str:
    """The text without accents, and with a question mark for every letter that the font lacks: it has those of ASCII."""
    spelled = unicodedata.normalize("NFKD", shown(text)).translate(SPELLED)
    plain = "".join(letter for letter in spelled if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in plain)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitting(text: str, room: int, size: int = FONT, tail: bool = False) -> str:
    """The text, or its beginning (with `tail`, its end: of a path that is the file) and an ellipsis if it is wider than the room."""
    font = _font(size)
    if font.getlength(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(_cut(text, middle, tail)) <= room:
            low = middle
        else:
            high = middle - 1
    return _cut(text, low, tail)


def _cut(text: str, letters: int, tail: bool) -> str:
    return f"...{text[len(text) - letters :]}" if tail else f"{text[:letters]}..."
