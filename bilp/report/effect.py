"""Section: the causal effect of real images on the synthetic ones, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup

from bilp.config.reselect import RESELECT_SCORES, ReselectScore
from bilp.data import Dataset
from bilp.report.charts import figure, number
from bilp.report.collect import SHOWN_ROUNDS, Effects, Run, of_leading_arm
from bilp.report.decisions import Decisions, aim_sentence, round_shares, spread_so_far
from bilp.report.figures import Curve, Part, bin_edges, curves, histogram, tallest_bar
from bilp.report.galleries import Cell, GalleryRow, low_middle_high, picture, spread
from bilp.report.source import origin, origin_words
from bilp.report.wording import arm_words, of_class, share

BINS = 28


@dataclass(frozen=True)
class RoundRow:
    """One round of the table."""

    round: int
    measured: str
    dropped: str
    share: str
    so_far: str
    low: str
    high: str


@dataclass(frozen=True)
class Effect:
    """The section's content; `arm` is the arm whose first experiment the histograms and the gallery show."""

    arm: str
    histograms: tuple[Markup, ...]
    share_chart: Markup
    rows: tuple[RoundRow, ...]
    gallery: tuple[GalleryRow, ...]
    gallery_round: int
    dropped_share: float
    aim: str
    words: ReselectScore
    beta: str
    """Share that was to be left out."""


def effect(runs: Sequence[Run], dataset: Dataset, shown: Sequence[int], samples: int) -> Effect | None:
    """None if no run measured effects."""
    adaptive = [run for run in runs if run.effects]
    if not adaptive:
        return None
    run = of_leading_arm(adaptive)
    last = run.effects[-1]
    mine = [other for other in adaptive if other.arm == run.arm]
    reselect = run.reselect
    words, (beta, _) = RESELECT_SCORES[reselect.score], reselect.shares
    decided = {decisions.round: decisions for decisions in run.decisions}
    last_decisions = [other.decisions[-1] for other in adaptive if other.decisions]
    return Effect(
        arm=arm_words(run.arm).title,
        histograms=_histograms([run.effects[k] for k in spread(np.arange(len(run.effects)), SHOWN_ROUNDS)], words.word),
        share_chart=_share_chart(adaptive, beta),
        rows=tuple(_row(effects, decided.get(effects.round)) for effects in run.effects),
        gallery=tuple(_gallery_row(last, dataset, c, samples, words.word) for c in shown),
        gallery_round=last.round,
        dropped_share=float(np.mean([value for other in mine for value in _shares(other).values()])),
        aim=aim_sentence(last_decisions, beta, dataset.class_names, reselect.by_rank) if last_decisions else "",
        words=words,
        beta=share(beta),
    )


def relative(table: pd.DataFrame) -> pd.Series[float]:
    """Effects divided by the median effect of their class: classes differ in the size of effects, less in their spread."""
    ite = table["ite"].astype("float64")
    middle = ite.groupby(table["label"]).transform("median")
    return ite / middle.where(middle > 0)


def thresholds(table: pd.DataFrame) -> tuple[float | None, float | None]:
    """Where the low and the high tail begin, as multiples of the class median: the middle one over the classes.

    Read off the decisions: a threshold lies between the last dropped and the first kept sample (geometric mean).
    """
    scaled = relative(table)
    positive = table.assign(scaled=scaled)[scaled > 0]
    lows, highs = [], []
    for _, rows in positive.groupby("label"):
        kept, dropped = rows["scaled"][~rows["dropped"]], rows["scaled"][rows["dropped"]]
        below, above = dropped[dropped < kept.min()], dropped[dropped > kept.max()]
        if len(below):
            lows.append(float(np.sqrt(below.max() * kept.min())))
        if len(above):
            highs.append(float(np.sqrt(above.min() * kept.max())))
    return (float(np.median(lows)) if lows else None, float(np.median(highs)) if highs else None)


def _shares(run: Run) -> dict[int, float]:
    """Share left out by round: of all its decisions where they are known, else of those at its boundary."""
    return {effects.round: effects.dropped_share for effects in run.effects} | round_shares(run.decisions)


def _histograms(rounds: Sequence[Effects], word: str) -> tuple[Markup, ...]:
    parts = []
    for effects in rounds:
        scaled, dropped = relative(effects.table).to_numpy(), effects.table["dropped"].to_numpy()
        shown = scaled > 0  # not a number or zero has no place on a logarithmic axis
        parts.append([Part("kept", scaled[shown & ~dropped], "c-kept"), Part("dropped", scaled[shown & dropped], "c-dropped")])
    edges = bin_edges(np.concatenate([part.values for two in parts for part in two]), BINS, log=True)
    tallest = tallest_bar(parts, edges)
    charts = []
    for effects, two in zip(rounds, parts, strict=True):
        lines = [value for value in thresholds(effects.table) if value is not None]
        label = f"{word} ÷ median of its class"
        charts.append(histogram(f"Round {effects.round}", two, edges, label, thresholds=lines, log=True, tallest=tallest))
    return tuple(charts)


def _share_chart(runs: Sequence[Run], beta: float) -> Markup:
    series = []
    for arm in dict.fromkeys(run.arm for run in runs):
        shares = pd.DataFrame([_shares(run) for run in runs if run.arm == arm]).mean().sort_index()
        words = arm_words(arm)
        series.append(Curve(words.title, shares.index.to_numpy(np.float64), shares.to_numpy(np.float64), words.css, dots=True))
    told = "; ".join(f"{curve.name}: " + ", ".join(share(float(value)) for value in curve.y) for curve in series)
    alt = f"Share of measured images left out per round, aimed at {share(beta)}. {told}"
    return curves(series, "round", f"left out (dashed: aim {share(beta)})", alt, target=beta, percent=True, whole=True)


def _row(effects: Effects, decisions: Decisions | None) -> RoundRow:
    low, high = thresholds(effects.table)
    return RoundRow(
        round=effects.round,
        measured=f"{len(effects.table):,}",
        dropped=f"{int(effects.table['dropped'].sum()):,}",
        share=share(effects.dropped_share),
        so_far="–" if decisions is None else spread_so_far(decisions),
        low="–" if low is None else f"{figure(low)} ×",
        high="–" if high is None else f"{figure(high)} ×",
    )


def _gallery_row(effects: Effects, dataset: Dataset, label: int, samples: int, word: str) -> GalleryRow:
    mine = effects.table[effects.table["label"] == label].sort_values(["ite", "sample_id"])
    name = dataset.class_names[label]
    groups = zip((f"Smallest {word}", "Middle", f"Largest {word}"), low_middle_high(len(mine), samples), strict=True)
    return GalleryRow(name, tuple(_cell(heading, mine.iloc[ranks], dataset, name, word) for heading, ranks in groups))


def _cell(heading: str, rows: pd.DataFrame, dataset: Dataset, name: str, word: str) -> Cell:
    ids, effects, dropped = (rows[column].to_numpy() for column in ("sample_id", "ite", "dropped"))
    images = dataset.train.images(torch.tensor(ids)).numpy()
    pictures = []
    for image, sample_id, value, out in zip(images, ids, effects, dropped, strict=True):
        fate = "dropped" if out else "kept"
        shown = number(float(value))
        words = f"sample {sample_id}, {of_class(name)}, {word} {shown}, {fate}" + origin_words(dataset, sample_id)
        pictures.append(replace(picture(image, words, fate), facts=(str(sample_id), shown, fate, origin(dataset, sample_id))))
    return Cell(heading, tuple(pictures), "" if pictures else "none measured")
