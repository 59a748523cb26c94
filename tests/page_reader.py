"""Reads a page back: what a browser would load, show and announce."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from typing import Any

import numpy as np
from PIL import Image

INLINE = {"a", "code", "i", "small", "span"}
VOID = {"meta", "link", "img", "br", "input", "line", "rect", "circle", "polyline"}


class Page(HTMLParser):
    """Elements of a page; fails on tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.styles = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()
        if tag not in INLINE:
            self.text += "\n"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.styles += data
            return
        data = data.replace("\xa0", " ")
        self.text += data
        if "td" in self._open or ("th" in self._open and "small" not in self._open):
            self.tables[-1][-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        """Every id, in order."""
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def table(self, *first_columns: str) -> list[list[str]]:
        """The rows below the head of the one table whose head starts with these columns."""
        found = [table for table in self.tables if table[0][: len(first_columns)] == list(first_columns)]
        assert len(found) == 1, [table[0] for table in self.tables]
        return found[0][1:]


def decode(uri: str) -> np.ndarray:
    """The pixels of an image data URI, uint8 [C, H, W]."""
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    image.load()
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
