"""Section: static pruning, which real images were kept and which were dropped before distilling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup

from bilp.artifacts.facts import SelectionFacts
from bilp.config.rules import RULES
from bilp.data import Dataset
from bilp.report.charts import figure, number
from bilp.report.components import components, found_sentence
from bilp.report.figures import Part, bin_edges, histogram, tallest_bar
from bilp.report.galleries import Cell, GalleryRow, around_cuts, evenly, picture
from bilp.report.source import origin, origin_words
from bilp.report.wording import of_class, share

BINS = 24
TOGETHER = 50
"""Classes in one piece of the table; of more, pieces that are sorted by name open one by one."""


@dataclass(frozen=True)
class PruningRow:
    """One class of the table."""

    name: str
    total: str
    kept: str
    share: str
    threshold: str
    mean_kept: str
    mean_dropped: str


@dataclass(frozen=True)
class Pruning:
    """The section's content."""

    rows: tuple[PruningRow, ...]
    histograms: tuple[Markup, ...]
    gallery: tuple[GalleryRow, ...]
    kept: int
    total: int
    found: str = ""
    """What keep auto found, in words."""
    components: bool = False
    """Whether the histograms have lines of two components."""
    thresholds: bool = True
    """Whether the rule cuts at thresholds."""

    @property
    def by_name(self) -> tuple[tuple[PruningRow, ...], ...]:
        """The rows in pieces: as they are if they are few, otherwise by name, so that a class is found."""
        if len(self.rows) <= TOGETHER:
            return (self.rows,)
        ordered = sorted(self.rows, key=lambda row: (row.name.casefold(), row.name))
        return tuple(tuple(ordered[start : start + TOGETHER]) for start in range(0, len(ordered), TOGETHER))

    @property
    def dropped_share(self) -> float:
        """Part of all images that was dropped."""
        return 1 - self.kept / self.total


@dataclass(frozen=True)
class Ranking:
    """The samples of one class in ascending order of their score."""

    name: str
    sample_id: np.ndarray
    score: np.ndarray
    kept: np.ndarray
    spread: bool = False
    """Whether kept and dropped ones lie among each other, so that there are no thresholds."""

    def thresholds(self) -> list[float]:
        """Scores halfway between neighbors of which one was kept and one dropped."""
        if self.spread:
            return []
        where = np.flatnonzero(self.kept[1:] != self.kept[:-1])
        return [float(self.score[k] + self.score[k + 1]) / 2 for k in where]


def rankings(selection: pd.DataFrame, class_names: Sequence[str], spread: bool = False) -> list[Ranking]:
    """Every class ranked as the selection ranked it; `spread` is a fact of its rule."""
    by_class = dict(iter(selection.sort_values("rank_in_class", kind="stable").groupby("label")))
    nothing = selection.iloc[:0]
    groups = [(name, by_class.get(label, nothing)) for label, name in enumerate(class_names)]
    return [Ranking(name, rows["sample_id"].to_numpy(), rows["score"].to_numpy(), rows["kept"].to_numpy(), spread) for name, rows in groups]


def pruning(
    selection: pd.DataFrame, facts: SelectionFacts, dataset: Dataset, shown: Sequence[int], samples: int, score_name: str
) -> Pruning:
    """All classes in the table, the classes `shown` in pictures with `samples` images per column.

    Args:
        selection: its table.
        facts: what it states.
        dataset: that it was made for.
        shown: classes that are pictured.
        samples: images in a column.
        score_name: what the score is called.
    """
    ranked = rankings(selection, dataset.class_names, facts.rule in RULES and RULES[facts.rule].spread)
    visible = [ranked[c] for c in shown]
    parts = [_parts(ranking) for ranking in visible]
    mixture = components(facts)
    log = mixture is not None and mixture.mixed.log
    edges = bin_edges(np.concatenate([ranking.score for ranking in visible]), BINS, log=log)
    lines = [[] if mixture is None else mixture.expected(c, ranked[c].kept.size, edges) for c in shown]
    tallest = max([tallest_bar(parts, edges), *(math.ceil(heights.max()) for each in lines for _, heights in each)])
    charts = zip(visible, parts, lines, strict=True)
    return Pruning(
        rows=tuple(_row(ranking) for ranking in ranked),
        histograms=tuple(
            histogram(of_class(ranking.name), two, edges, score_name, thresholds=ranking.thresholds(), log=log, tallest=tallest, lines=each)
            for ranking, two, each in charts
        ),
        gallery=tuple(_gallery_row(ranking, dataset, samples, score_name) for ranking in visible),
        kept=int(selection["kept"].sum()),
        total=len(selection),
        found=found_sentence(facts),
        components=mixture is not None,
        thresholds=bool(ranked) and not ranked[0].spread,
    )


def _parts(ranking: Ranking) -> list[Part]:
    return [Part("kept", ranking.score[ranking.kept], "c-kept"), Part("dropped", ranking.score[~ranking.kept], "c-dropped")]


def _row(ranking: Ranking) -> PruningRow:
    kept, dropped = ranking.score[ranking.kept], ranking.score[~ranking.kept]
    return PruningRow(
        name=ranking.name,
        total=f"{ranking.kept.size:,}",
        kept=f"{kept.size:,}",
        share=share(kept.size / ranking.kept.size) if ranking.kept.size else "–",
        threshold=", ".join(figure(value) for value in ranking.thresholds()) or "–",
        mean_kept=figure(float(kept.mean())) if kept.size else "–",
        mean_dropped=figure(float(dropped.mean())) if dropped.size else "–",
    )


def _gallery_row(ranking: Ranking, dataset: Dataset, samples: int, score_name: str) -> GalleryRow:
    kept, border, dropped = (evenly if ranking.spread else around_cuts)(ranking.kept, samples)
    if ranking.spread:
        headings = ("Kept", "", "Dropped")
    else:
        headings = (_heading("Kept", kept, ranking), "At the threshold", _heading("Dropped", dropped, ranking))
    groups = zip(headings, (kept, border, dropped), strict=True)
    cells = (_cell(heading, ranks, ranking, dataset, score_name) for heading, ranks in groups if heading)
    return GalleryRow(ranking.name, tuple(cells))


def _heading(verb: str, ranks: np.ndarray, ranking: Ranking) -> str:
    """'Kept, lowest score' where what is shown is an end of the ranking."""
    if ranks.size and ranks[-1] == ranks.size - 1:
        return f"{verb}, lowest"
    if ranks.size and ranks[0] == ranking.kept.size - ranks.size:
        return f"{verb}, highest"
    return f"{verb}, far from the threshold"


def _cell(heading: str, ranks: np.ndarray, ranking: Ranking, dataset: Dataset, score_name: str) -> Cell:
    ids = ranking.sample_id[ranks]
    images = dataset.train.images(torch.tensor(ids)).numpy()
    pictures = []
    for image, rank, sample_id in zip(images, ranks, ids, strict=True):
        fate, shown = "kept" if ranking.kept[rank] else "dropped", number(float(ranking.score[rank]))
        words = f"sample {sample_id}, {of_class(ranking.name)}, {score_name} {shown}, {fate}"
        words += origin_words(dataset, sample_id)
        facts = (str(sample_id), shown, fate, origin(dataset, sample_id))
        pictures.append(replace(picture(image, words, fate), facts=facts))
    return Cell(heading, tuple(pictures), "" if pictures else "none")
