"""Which samples the page shows, and pictures as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from bilp.config.shapes import frames_in
from bilp.images.frames import STRIP, side_by_side

LARGEST_SIDE = 64
LOSSLESS_BYTES = 1200
ABREAST = 8


@dataclass(frozen=True)
class Picture:
    """One image of the page: its data URI, what it shows in words, its size in pixels and a color class for its frame.

    `facts` are what a table says of it: number, value, fate and file; none of an image that is no sample.
    """

    uri: str
    alt: str
    width: int
    height: int
    css: str = ""
    facts: tuple[str, ...] = ()
    frames: int = 1
    """Of a clip, how many stand beside each other."""


@dataclass(frozen=True)
class Cell:
    """The images of one class in one column of a gallery, `columns` abreast; `note` is said when there are none."""

    heading: str
    pictures: tuple[Picture, ...]
    note: str = ""
    columns: int = ABREAST

    @property
    def abreast(self) -> int:
        """Pictures in a row; a strip of frames takes the room of several."""
        return min(max(1, self.columns // max((shown.frames for shown in self.pictures), default=1)), len(self.pictures))


@dataclass(frozen=True)
class GalleryRow:
    """One class of a gallery."""

    name: str
    cells: tuple[Cell, ...]


def picture(image: np.ndarray, alt: str, css: str = "") -> Picture:
    """A uint8 image [C, H, W], C 1 or 3, as a data URI, never larger than 64 pixels a side; of a clip [T, C, H, W] some frames.

    The picture is exact (PNG) where that takes few bytes, else a JPEG, so that a page of a thousand stays small.
    """
    frames, image = min(STRIP, frames_in(image.shape)), side_by_side(torch.from_numpy(image)).numpy()
    plane = Image.fromarray(image[0]) if image.shape[0] == 1 else Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    plane.thumbnail((frames * (LARGEST_SIDE + 1) - 1, LARGEST_SIDE), Image.Resampling.LANCZOS)
    kind, data = "png", _encoded(plane, "PNG", optimize=True)
    if len(data) > LOSSLESS_BYTES * frames:
        kind, data = "jpeg", _encoded(plane, "JPEG", quality=90, subsampling=0, optimize=True)
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(uri, alt, plane.width, plane.height, css, frames=frames)


def _encoded(plane: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    plane.save(buffer, kind, **options)
    return buffer.getvalue()


def spread(positions: np.ndarray, count: int) -> np.ndarray:
    """`count` of `positions`, evenly spaced from the first to the last; all of them if there are fewer."""
    if positions.size <= count:
        return positions
    chosen: np.ndarray = positions[np.linspace(0, positions.size - 1, count).round().astype(int)]
    return chosen


def around_cuts(kept: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions in a ranking to show for a selection: (surest kept, at the cut, surest dropped), each ascending.

    `kept` [n] is ordered by score. A cut lies wherever it changes; how sure a decision is, is its distance in ranks to
    the nearest cut. This holds for every kind of selection: one cut (drop high or low) or two (a band).
    """
    n = kept.size
    cuts = np.flatnonzero(kept[1:] != kept[:-1]) + 0.5
    if cuts.size == 0:
        shown = np.arange(min(count, n)) if n else np.arange(0)
        nothing = np.arange(0)
        return (shown, nothing, nothing) if n and kept[0] else (nothing, nothing, shown)
    distance = np.abs(np.arange(n)[:, None] - cuts[None, :]).min(axis=1)
    border = np.argsort(distance, kind="stable")[: min(count, n // 3)]
    rest = np.setdiff1d(np.arange(n), border)
    surest = rest[np.argsort(-distance[rest], kind="stable")]
    return np.sort(surest[kept[surest]][:count]), np.sort(border), np.sort(surest[~kept[surest]][:count])


def evenly(kept: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions in a ranking to show for a selection without cuts: (kept, none, dropped), each from the lowest score to the highest.

    `kept` [n] is ordered by score.
    """

    def some(places: np.ndarray) -> np.ndarray:
        return (
            places[np.unique(np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(np.int64))] if len(places) else places
        )

    return some(np.flatnonzero(kept)), np.arange(0), some(np.flatnonzero(~kept))


def low_middle_high(n: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the `count` first, middle and last of `n` ranked samples, without overlap."""
    each = min(count, n // 3)
    start = (n - each) // 2
    return np.arange(each), np.arange(start, start + each), np.arange(n - each, n)
