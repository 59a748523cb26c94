"""Pieces of HTML for notebooks; every name from outside is text in them."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from bilp.config.shapes import frames_in
from bilp.text.escaping import shown

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 48
"""Pixels that small images are enlarged to at least."""
LARGEST = 96
"""Pixels that large images are reduced to at most."""


def text(words: object) -> str:
    """Words as HTML shows them."""
    return html.escape(shown(str(words)))


def paragraph(words: object) -> str:
    """A line of its own."""
    return f"<p>{text(words)}</p>"


def picture(png: bytes, told: str) -> str:
    """A PNG file, with what it shows in words."""
    return f'<img alt="{text(told)}" title="{text(told)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def strip(pixels: Tensor, told: Sequence[str], captions: Sequence[str] | None = None) -> str:
    """uint8 images `[n, C, H, W]`, or clips `[n, T, C, H, W]`, beside each other, each with what is told of it and, if there are any,
    its caption below."""
    shown_below = captions if captions is not None else [""] * len(told)
    figures = [
        '<figure style="display:inline-block;margin:2px;text-align:center">'
        f"{picture(png(one), words)}<figcaption><small>{text(below)}</small></figcaption></figure>"
        for one, words, below in zip(pixels, told, shown_below, strict=True)
    ]
    return f"<div>{''.join(figures)}</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of text."""
    top = "".join(f"<th>{text(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def png(pixels: Tensor) -> bytes:
    """A uint8 image `[C, H, W]`, or some frames of a clip `[T, C, H, W]`, as a PNG file of a size that can be looked at."""
    from bilp.images.frames import STRIP, side_by_side

    frames, pixels = min(STRIP, frames_in(pixels.shape)), side_by_side(pixels)
    array = pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).contiguous().numpy()
    image = Image.fromarray(array)
    factor = max(1, -(-SIDE // min(image.size)))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((LARGEST * frames, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
