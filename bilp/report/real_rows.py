"""Part of the section on synthetic images: the real images of a set, which they are and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bilp.data import Dataset
from bilp.distill.step.state import DISTILLED
from bilp.report.collect import Run
from bilp.report.galleries import Picture, picture
from bilp.report.source import origin, origin_words
from bilp.report.wording import count, of_class
from bilp.text.sample_words import spoken

SHOWN = 10
"""Most real images of a class."""


@dataclass(frozen=True)
class RealRow:
    """One real image of a set."""

    picture: Picture
    name: str
    """Its class."""
    place: str
    """Its number among the images of the class, from 1."""
    number: str
    """That of the training sample."""
    file: str
    """Where that comes from; empty if nobody knows."""


def mine_in_words(run: Run, dataset: Dataset, k: int, place: int) -> str:
    """'synthetic image 3', or for a real one 'image 3, real sample 17 as it is, from cat/0.png,'; `k` counts the images that are shown,
    `place` those of the class."""
    if run.real is None or run.real[k] == DISTILLED:
        return f"{spoken('synthetic image')} {place + 1}"
    return f"{spoken('image')} {place + 1}, real sample {run.real[k]} as it is{origin_words(dataset, run.real[k])},"


def real_rows(run: Run, dataset: Dataset, shown: Sequence[int]) -> tuple[RealRow, ...]:
    """The first real images of each class; none for a set without."""
    if run.real is None:
        return ()
    rows = []
    for c in shown:
        mine, name = np.flatnonzero(run.final.labels == c), dataset.class_names[c]
        places = [place for place, k in enumerate(mine) if run.real[k] != DISTILLED][:SHOWN]
        for place in places:
            sample, image = int(run.real[mine[place]]), run.final.images[mine[place]]
            alt = f"real sample {sample}, {of_class(name)}{origin_words(dataset, sample)}"
            rows.append(RealRow(picture(image, alt), name, str(place + 1), str(sample), origin(dataset, sample)))
    return tuple(rows)


def real_words(run: Run) -> str:
    """'4 of 10 images of the classes shown are real ...; the others were distilled'; empty for a set without a real part."""
    return "" if run.real is None else part_in_words(int((run.real != DISTILLED).sum()), len(run.real))


def part_in_words(real: int, images: int) -> str:
    """What `real` of so many images of the classes that are shown are, and what the others."""
    if real == images:
        return f"all {count(images, spoken('image'))} of the classes shown are real training samples as they are"
    return (
        f"{real:,} of {count(images, spoken('image'))} of the classes shown {'is a' if real == 1 else 'are'} real training "
        f"sample{'' if real == 1 else 's'} as {'it is' if real == 1 else 'they are'}; the others were distilled"
    )
