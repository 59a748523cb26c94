"""Section: the synthetic images, how they came about and what they look like next to real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup

from bilp.data import Dataset
from bilp.report.collect import Run, Snapshot, of_leading_arm
from bilp.report.figures import Curve, curves
from bilp.report.galleries import Cell, GalleryRow, picture, spread
from bilp.report.ingredients import ingredient_rows
from bilp.report.label_rows import LabelRow, label_rows
from bilp.report.real_rows import RealRow, mine_in_words, real_rows, real_words
from bilp.report.source import origin_words
from bilp.report.tile_sources import tile_rows
from bilp.report.wording import arm_words, of_class
from bilp.text.sample_words import spoken

SHOWN_PER_CLASS = 10
EXAMPLES = 4
NARROW = 5
AVERAGED = 1000


@dataclass(frozen=True)
class Synthetic:
    """The section's content; `strip_arm` is the arm whose first experiment the strip shows."""

    strip_arm: str
    strip: tuple[GalleryRow, ...]
    gallery: tuple[GalleryRow, ...]
    shown_per_class: int
    per_class: int
    size: str
    tiles: tuple[GalleryRow, ...] = ()
    """The first image of each class and what its tiles were cut out of, if it is made of tiles."""
    real: tuple[RealRow, ...] = ()
    """Real images of the set, if it has any, of the arm of the strip."""
    real_count: str = ""
    """How many of its images these are, and what the others are, in words."""
    labels: tuple[LabelRow, ...] = ()
    """What the labels of each class say, if they were learned."""
    labels_meaning: str = ""
    """What these labels are."""
    ingredients: tuple[GalleryRow, ...] = ()
    """The first images of each class and what they are made of, if the set is stored as something smaller."""
    ingredients_meaning: str = ""
    """What there is to say of these."""


def loss_chart(runs: Sequence[Run], loss: str = "matching loss") -> Markup | None:
    """The loss, called so, over the iterations, one line per arm (mean over experiments)."""
    series = []
    for arm in dict.fromkeys(run.arm for run in runs):
        rows = pd.concat([run.losses for run in runs if run.arm == arm])
        if len(rows):
            losses = rows.groupby("iteration")["loss"].mean().astype("float64")
            x = losses.index.to_numpy(np.float64) + 1
            series.append(Curve(arm_words(arm).title, x, losses.to_numpy(), arm_words(arm).css))
    if not series:
        return None
    values = np.concatenate([curve.y for curve in series])
    log = bool((values > 0).all() and values.max() > 20 * values.min())
    ends = "; ".join(f"{curve.name} from {curve.y[0]:.4g} to {curve.y[-1]:.4g}" for curve in series)
    return curves(series, "iteration", loss, f"{loss.capitalize()} over the iterations: {ends}", log=log)


def synthetic(runs: Sequence[Run], dataset: Dataset, shown: Sequence[int]) -> Synthetic | None:
    """The final sets and the course of each arm's first experiment; None without runs."""
    firsts = [run for run in runs if run.experiment == 0]
    if not firsts:
        return None
    told = of_leading_arm(firsts)
    per_class = max(int((run.final.labels == shown[0]).sum()) for run in firsts)
    return Synthetic(
        strip_arm=arm_words(told.arm).title,
        strip=tuple(_strip_row(snapshot, dataset, shown) for snapshot in told.snapshots),
        gallery=tuple(_gallery_row(firsts, dataset, c) for c in shown),
        shown_per_class=min(per_class, SHOWN_PER_CLASS),
        per_class=per_class,
        size="large" if per_class <= 2 else "",
        tiles=tile_rows(told, dataset, shown),
        real=real_rows(told, dataset, shown),
        real_count=real_words(told),
        labels=label_rows(told.mean_labels, dataset.class_names, shown),
        labels_meaning="" if told.mean_labels is None else spoken(told.mean_labels.meaning),
        ingredients=ingredient_rows(told.ingredients, told.final.images, told.final.labels, dataset.class_names),
        ingredients_meaning="" if told.ingredients is None else spoken(told.ingredients.meaning),
    )


def class_mean(dataset: Dataset, label: int) -> np.ndarray:
    """Mean image [C, H, W], or mean clip [T, C, H, W], uint8 of a class, over at most 1000 evenly spaced training images."""
    chosen = spread(dataset.train.by_class()[label].numpy(), AVERAGED)
    mean: np.ndarray = dataset.train.images(torch.from_numpy(chosen)).float().mean(dim=0).round().to(torch.uint8).numpy()
    return mean


def _strip_row(snapshot: Snapshot, dataset: Dataset, shown: Sequence[int]) -> GalleryRow:
    pictures = []
    for c in shown:
        words = f"{spoken('synthetic image')} of {of_class(dataset.class_names[c])}, {snapshot.title}"
        pictures += [picture(snapshot.images[k], words) for k in np.flatnonzero(snapshot.labels == c)[:1]]
    return GalleryRow(snapshot.title, (Cell(spoken("First image of each class"), tuple(pictures), columns=len(pictures)),))


def _gallery_row(runs: Sequence[Run], dataset: Dataset, label: int) -> GalleryRow:
    name = dataset.class_names[label]
    chosen = spread(dataset.train.by_class()[label].numpy(), EXAMPLES)
    real = dataset.train.images(torch.from_numpy(chosen)).numpy()
    named = [(image, f"real sample {k}, {of_class(name)}{origin_words(dataset, k)}") for image, k in zip(real, chosen, strict=True)]
    examples = tuple(picture(image, words) for image, words in named)
    cells = [
        Cell("Real mean", (picture(class_mean(dataset, label), f"mean of the {spoken('real images')} of {of_class(name)}"),)),
        Cell("Real examples", examples, columns=EXAMPLES if len(runs) <= 2 else EXAMPLES // 2),
    ]
    for run in runs:
        title = arm_words(run.arm).title
        mine = np.flatnonzero(run.final.labels == label)[:SHOWN_PER_CLASS]
        words = [f"{mine_in_words(run, dataset, int(k), place)} of {of_class(name)}, {title}" for place, k in enumerate(mine)]
        pictures = tuple(picture(run.final.images[k], word) for k, word in zip(mine, words, strict=True))
        cells.append(Cell(title, pictures, columns=SHOWN_PER_CLASS if len(runs) <= 2 else NARROW))
    return GalleryRow(name, tuple(cells))
