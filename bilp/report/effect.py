"""Section: the causal effect of real images on the synthetic ones, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup

from bilp.config.reselect import RESELECT_MODES, RESELECT_SCORES, ReselectConfig, ReselectScore
from bilp.data import Dataset
from bilp.report.charts import figure, number
from bilp.report.collect import SHOWN_ROUNDS, Effects, Run, of_leading_arm
from bilp.report.decisions import Decisions, aim_sentence, round_shares, spread_so_far
from bilp.report.figures import Curve, Part, bin_edges, curves, histogram, tallest_bar
from bilp.report.galleries import Cell, GalleryRow, low_middle_high, picture, spread
from bilp.report.source import origin, origin_words
from bilp.report.wording import arm_words, of_class, share
from bilp.text.sample_words import spoken

BINS = 28
DROPPED_CAPTION = "Share of the measured images that each round left out; the dashed line is the aim."
WEIGHED_CAPTION = "What weights cost in each round: one less the effective share of the measured images; the dashed line is the aim."


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
    rule: str
    """What a decision did to the real images, in words."""
    share_caption: str
    scale: str
    """What the histograms count in, in words; and of thresholds likewise."""
    thresholds: str


def effect(runs: Sequence[Run], dataset: Dataset, shown: Sequence[int], samples: int) -> Effect | None:
    """None if no run measured effects."""
    adaptive = [run for run in runs if run.effects]
    if not adaptive:
        return None
    run = of_leading_arm(adaptive)
    last = run.effects[-1]
    mine = [other for other in adaptive if other.arm == run.arm]
    reselect = run.reselect
    words, (beta, _), weighed = RESELECT_SCORES[reselect.score], reselect.shares, RESELECT_MODES[reselect.mode].weighs
    decided = {decisions.round: decisions for decisions in run.decisions}
    last_decisions = [other.decisions[-1] for other in adaptive if other.decisions]
    return Effect(
        arm=arm_words(run.arm).title,
        histograms=_histograms([run.effects[k] for k in spread(np.arange(len(run.effects)), SHOWN_ROUNDS)], words),
        share_chart=_share_chart(adaptive, beta, "cost of weights" if weighed else "left out"),
        rows=tuple(_row(effects, decided.get(effects.round), words.signed) for effects in run.effects),
        gallery=tuple(_gallery_row(last, dataset, c, samples, words.word) for c in shown),
        gallery_round=last.round,
        dropped_share=float(np.mean([value for other in mine for value in _shares(other).values()])),
        aim=aim_sentence(last_decisions, beta, dataset.class_names, reselect.by_rank) if last_decisions and not weighed else "",
        words=words,
        rule=_rule(reselect),
        share_caption=spoken(WEIGHED_CAPTION if weighed else DROPPED_CAPTION),
        scale="in standard deviations from the mean of their class" if words.signed else "as a multiple of their class's median",
        thresholds="in standard deviations" if words.signed else "multiples of the class median",
    )


def relative(table: pd.DataFrame, signed: bool = False) -> pd.Series[float]:
    """Effects divided by the median effect of their class: classes differ in the size of effects, less in their spread.

    Effects that have a sign are counted in standard deviations from the mean of their class instead.
    """
    ite = table["ite"].astype("float64")
    if signed:
        own = ite.groupby(table["label"])
        spread = own.transform("std", ddof=0)
        return (ite - own.transform("mean")) / spread.where(spread > 0)
    middle = ite.groupby(table["label"]).transform("median")
    return ite / middle.where(middle > 0)


def thresholds(table: pd.DataFrame, signed: bool = False) -> tuple[float | None, float | None]:
    """Where the low and the high tail begin, as multiples of the class median: the middle one over the classes.

    Read off the decisions: a threshold lies between the last dropped and the first kept sample (geometric mean; of effects that have
    a sign, in standard deviations, the arithmetic one).
    """
    scaled = relative(table, signed)
    positive = table.assign(scaled=scaled)[scaled.notna() if signed else scaled > 0]
    lows, highs = [], []
    for _, rows in positive.groupby("label"):
        kept, dropped = rows["scaled"][~rows["dropped"]], rows["scaled"][rows["dropped"]]
        below, above = dropped[dropped < kept.min()], dropped[dropped > kept.max()]
        if len(below):
            lows.append(_between(below.max(), kept.min(), signed))
        if len(above):
            highs.append(_between(above.min(), kept.max(), signed))
    return (float(np.median(lows)) if lows else None, float(np.median(highs)) if highs else None)


def _between(one: float, other: float, signed: bool) -> float:
    return float((one + other) / 2 if signed else np.sqrt(one * other))


def _rule(reselect: ReselectConfig) -> str:
    """'10 % of the measured images were to be left out, taken from both ends', or how they are weighed."""
    beta, low = reselect.shares[0], reselect.low_part
    ends = {0.0: "the high end alone", 1.0: "the low end alone"}.get(low, "both ends")
    if not RESELECT_MODES[reselect.mode].weighs:
        first = "; the first decision came before the initial images, which were drawn from what it kept"
        told = f"{share(beta)} of the measured images were to be left out, taken from {ends}"
        return spoken(told + (first if reselect.decides_first else ""))
    if reselect.temperature is None:
        how = f"so that the mean is as precise as that of {share(1 - beta)} of them"
    else:
        how = f"by the exponential of its standardized value over a temperature of {number(reselect.temperature)}"
    return spoken(f"every measured image took part, and those far out at {ends} counted less in the mean, {how}")


def _shares(run: Run) -> dict[int, float]:
    """Share left out by round: of all its decisions where they are known, else of those at its boundary; by weights, what they cost."""
    if any(effects.effective_share is not None for effects in run.effects):
        return {effects.round: 1.0 - (effects.effective_share or 0.0) for effects in run.effects}
    return {effects.round: effects.dropped_share for effects in run.effects} | round_shares(run.decisions)


def _histograms(rounds: Sequence[Effects], words: ReselectScore) -> tuple[Markup, ...]:
    parts = []
    for effects in rounds:
        scaled, dropped = relative(effects.table, words.signed).to_numpy(), effects.table["dropped"].to_numpy()
        shown = ~np.isnan(scaled) if words.signed else scaled > 0  # not a number or zero has no place on a logarithmic axis
        parts.append([Part("kept", scaled[shown & ~dropped], "c-kept"), Part("dropped", scaled[shown & dropped], "c-dropped")])
    edges = bin_edges(np.concatenate([part.values for two in parts for part in two]), BINS, log=not words.signed)
    tallest = tallest_bar(parts, edges)
    charts = []
    for effects, two in zip(rounds, parts, strict=True):
        lines = [value for value in thresholds(effects.table, words.signed) if value is not None]
        label = f"{words.word}, deviations" if words.signed else f"{words.word} ÷ median of its class"
        charts.append(histogram(f"Round {effects.round}", two, edges, label, thresholds=lines, log=not words.signed, tallest=tallest))
    return tuple(charts)


def _share_chart(runs: Sequence[Run], beta: float, what: str) -> Markup:
    series = []
    for arm in dict.fromkeys(run.arm for run in runs):
        shares = pd.DataFrame([_shares(run) for run in runs if run.arm == arm]).mean().sort_index()
        words = arm_words(arm)
        series.append(Curve(words.title, shares.index.to_numpy(np.float64), shares.to_numpy(np.float64), words.css, dots=True))
    told = "; ".join(f"{curve.name}: " + ", ".join(share(float(value)) for value in curve.y) for curve in series)
    alt = f"{spoken('Share of measured images left out per round')}, aimed at {share(beta)}. {told}"
    return curves(series, "round", f"{what} (dashed: aim {share(beta)})", alt, target=beta, percent=True, whole=True)


def _row(effects: Effects, decisions: Decisions | None, signed: bool) -> RoundRow:
    (low, high), unit = thresholds(effects.table, signed), "σ" if signed else "×"
    return RoundRow(
        round=effects.round,
        measured=f"{len(effects.table):,}",
        dropped=f"{int(effects.table['dropped'].sum()):,}",
        share=share(effects.dropped_share),
        so_far="–" if decisions is None else spread_so_far(decisions),
        low="–" if low is None else f"{figure(low)} {unit}",
        high="–" if high is None else f"{figure(high)} {unit}",
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
