"""Part of the section on synthetic images: the real images that the tiles of some were cut out of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bilp.data import Dataset
from bilp.report.collect import Run
from bilp.report.galleries import Cell, GalleryRow, Picture, picture
from bilp.report.source import origin_words
from bilp.report.wording import of_class

SHOWN_TILES = 16
"""Most tiles of an image whose real images are shown."""


def tile_rows(run: Run, dataset: Dataset, shown: Sequence[int]) -> tuple[GalleryRow, ...]:
    """The first image of each class beside the real images that its tiles come from; empty for a set that is not made of tiles."""
    if run.tiles is None:
        return ()
    rows = []
    for c in shown:
        tiles = run.tiles[run.tiles["label"] == c]
        tiles, name = tiles[tiles["image"] == tiles["image"].min()].head(SHOWN_TILES), dataset.class_names[c]
        synthetic = [
            picture(run.final.images[k], f"synthetic image 1 of {of_class(name)}") for k in np.flatnonzero(run.final.labels == c)[:1]
        ]
        real = tuple(_source(dataset, tile, name) for tile in tiles.to_dict("records"))
        rows.append(GalleryRow(name, (Cell("First image", tuple(synthetic)), Cell("Cut out of", real, columns=4))))
    return tuple(rows)


def _source(dataset: Dataset, tile: dict[str, int], name: str) -> Picture:
    """A real image in which the border of the crop is marked."""
    sample = tile["sample_id"]
    image = dataset.train.images(torch.tensor([sample]))[0].numpy().copy()
    top, left, height, width = (tile[side] for side in ("top", "left", "height", "width"))
    words = (
        f"real sample {sample}, {of_class(name)}{origin_words(dataset, sample)}, {height} x {width} pixels from row {top}, column {left}"
    )
    return picture(marked(image, top, left, height, width), words)


def marked(image: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """A uint8 image `[..., H, W]` with the outermost pixels of a box inverted; unchanged if the box is the whole image."""
    if (height, width) == image.shape[-2:]:
        return image
    inside = np.zeros(image.shape[-2:], dtype=np.bool_)
    inside[top : top + height, left : left + width] = True
    inside[top + 1 : top + height - 1, left + 1 : left + width - 1] = False
    return np.where(inside, 255 - image, image)
