"""Part of the section on synthetic images: what the images of a set are made of, if they are stored as something smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.distill.factors_product import read_factors
from bilp.report.galleries import Cell, GalleryRow, Picture, picture
from bilp.report.wording import of_class
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class Ingredients:
    """What the first images of some classes are made of."""

    heading: str
    """What the ingredients of an image are called."""
    meaning: str
    """What there is to say of them."""
    together: int
    """Images of a class, from the first on, that are made of the same ingredients."""
    shown: dict[int, tuple[Picture, ...]]
    """By class."""


def read_ingredients(artifact: Artifact, labels: Tensor, shown: Sequence[int]) -> Ingredients | None:
    """The ingredients of the first image of each class of `shown` in a synthetic set with labels int64 `[M]`.

    None for a set that is stored as its images, or of which no ingredients are known. Raises DamagedArtifact for tensors that cannot be
    those of the set.
    """
    found = read_factors(artifact)
    if found is None or not found[0].heading:
        return None
    factors, tensors = found
    first = {c: int((labels == c).nonzero()[0]) for c in shown}
    pictures = {
        c: tuple(picture(levels(part.values).numpy(), part.words) for part in factors.ingredients(tensors, number))
        for c, number in first.items()
    }
    return Ingredients(factors.heading, factors.meaning, factors.together(tensors), pictures)


def ingredient_rows(found: Ingredients | None, images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> tuple[GalleryRow, ...]:
    """A row for each class: its first images that are made of the same ingredients, and these; none for a set stored as its images.

    Args:
        found: ingredients of some classes.
        images: uint8 `[N, C, H, W]`, or clips, of these classes at least.
        labels: their classes `[N]`.
        names: of all classes.
    """
    if found is None:
        return ()
    rows = []
    for c, ingredients in found.shown.items():
        name, mine = names[c], np.flatnonzero(labels == c)[: found.together]
        words = [f"{spoken('synthetic image')} {place + 1} of {of_class(name)}" for place in range(len(mine))]
        made = tuple(picture(images[k], word) for k, word in zip(mine, words, strict=True))
        heading = spoken("First image" if found.together == 1 else "First images")
        rows.append(GalleryRow(name, (Cell(heading, made), Cell(found.heading, ingredients))))
    return tuple(rows)


def levels(values: Tensor) -> Tensor:
    """Values of any range as uint8, from their smallest, 0, to their largest, 255; 0 where all are equal."""
    least, most = values.min(), values.max()
    return ((values - least) / (most - least).clamp_min(torch.finfo(torch.float32).tiny) * 255).round().to(torch.uint8)
