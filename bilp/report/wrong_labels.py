"""Where the truth is known: does adaptive pruning find wrong labels that the score misses, and how well does either tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from bilp.config.criteria import End
from bilp.report.charts import bottom_axis, dot, hint, left_axis, linear_scale, log_scale, svg
from bilp.report.collect import Run
from bilp.report.figures import WIDE
from bilp.report.samples import joined
from bilp.report.wording import arm_words
from bilp.text.sample_words import spoken
from bilp.truth.metrics import auroc
from bilp.truth.table import Truth

MOST_DOTS = 1200
"""Samples that the picture shows; more would make one blot, and a page of megabytes."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FoundRow:
    """What both levels did with wrong labels in an arm's first experiment, in words."""

    arm: str
    by_effect: str
    """AUROC of the effect."""
    by_score: str
    """AUROC of the score of static pruning, on the same samples."""
    dropped_by_effect: str
    dropped_by_score: str
    dropped_by_both: str
    jaccard: str
    only_by_effect: str
    """Wrong labels that the effect left out and the score kept."""


@dataclass(frozen=True)
class WrongLabels:
    """The part of the section; the picture is of `arm`, None if no scores are known."""

    errors: int
    total: int
    rows: tuple[FoundRow, ...]
    picture: Markup | None
    arm: str


def wrong_labels(runs: Sequence[Run], selection: pd.DataFrame | None, truth: Truth | None, drop: End) -> WrongLabels | None:
    """None if the truth is not known, no label is wrong, or no run measured effects.

    Args:
        runs: The first experiment of every arm that measured effects is told of.
        selection: Rows of `bilp.artifacts.tables.SELECTION`, if static pruning took part in any arm.
        truth: What is known of the samples.
        drop: The end of the scores that static pruning drops: suspicious ones lie there.
    """
    measured = [run for run in runs if run.effects and run.experiment == 0]
    if truth is None or not truth.errors or not measured:
        return None
    tables = {run.arm: _of_run(run, selection, truth, drop) for run in measured}
    shown = measured[0]
    return WrongLabels(
        errors=truth.errors,
        total=len(truth),
        rows=tuple(_row(run.arm, tables[run.arm]) for run in measured),
        picture=None if selection is None else _picture(tables[shown.arm], shown),
        arm=arm_words(shown.arm).title,
    )


def _of_run(run: Run, selection: pd.DataFrame | None, truth: Truth, drop: End) -> pd.DataFrame:
    """A row per measured sample: label, effect and score (high is suspicious), wrong, out (by its last decision), kept by the score."""
    table = joined(selection, run).dropna(subset="effect").set_index("sample_id")
    decided = pd.concat([effects.table for effects in run.effects]).drop_duplicates("sample_id", keep="last").set_index("sample_id")
    table = table.assign(out=decided["dropped"].reindex(table.index), wrong=truth.wrong[table.index.to_numpy(np.int64)])
    if run.signed:
        table["effect"] = -table["effect"]
    if drop == "low":
        table["score"] = -table["score"].astype(np.float64)
    return table


def within_classes(score: Floats, wrong: Mask, labels: NDArray[np.int64]) -> float:
    """Mean over classes, which differ in the size of effects, of the AUROC among the samples of each; NaN if no class has one."""
    each = [auroc(score[labels == c], wrong[labels == c]) for c in np.unique(labels)]
    known = [value for value in each if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _row(arm: str, table: pd.DataFrame) -> FoundRow:
    wrong, out, kept = (table[name].to_numpy(np.bool_) for name in ("wrong", "out", "kept"))
    labels = table["label"].to_numpy(np.int64)
    scored = bool(table["score"].notna().all())
    by_score = within_classes(table["score"].to_numpy(np.float64), wrong, labels) if scored else float("nan")
    either, both = int((out | ~kept).sum()), int((out & ~kept).sum())
    compared = scored and not kept.all()  # else the arm's real images are those that the score kept
    return FoundRow(
        arm=arm_words(arm).title,
        by_effect=_rate(within_classes(table["effect"].to_numpy(np.float64), wrong, labels)),
        by_score=_rate(by_score),
        dropped_by_effect=_counted(out, wrong),
        dropped_by_score=_counted(~kept, wrong) if compared else "–",
        dropped_by_both=_counted(out & ~kept, wrong) if compared else "–",
        jaccard=_rate(both / either) if compared and either else "–",
        only_by_effect=f"{int((out & kept & wrong).sum()):,} of {int((kept & wrong).sum()):,}" if scored else "–",
    )


def _rate(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def _counted(chosen: Mask, wrong: Mask) -> str:
    return f"{int(chosen.sum()):,} ({int((chosen & wrong).sum()):,} wrong)"


def _picture(table: pd.DataFrame, run: Run) -> Markup:
    """Effect against score, one dot per sample, wrong labels hollow."""
    usable = table[np.isfinite(table["score"].astype(np.float64))]
    usable = usable if run.signed else usable[usable["effect"] > 0]
    some = usable.iloc[np.unique(np.linspace(0, max(len(usable) - 1, 0), min(len(usable), MOST_DOTS)).astype(np.int64))]
    x, y = some["score"].to_numpy(np.float64), some["effect"].to_numpy(np.float64)
    wrong = some["wrong"].to_numpy(np.bool_)
    positive = bool((x > 0).all())
    across = (log_scale if positive else linear_scale)(x.tolist(), 52.0, WIDE - 12)
    up = (linear_scale if run.signed else log_scale)(y.tolist(), 216.0, 24.0)
    marks = [
        dot(across(a), up(b), 2.4, "fill c-dropped" if flag else "fill c-kept")
        for flag in (False, True)
        for a, b in zip(x[wrong == flag], y[wrong == flag], strict=True)
    ]
    axes = [left_axis(up, 52.0, WIDE - 12, f"{run.word} (relative to its class)"), bottom_axis(across, 216.0, "score of static pruning")]
    told = spoken(f"Effect against score of {len(some):,} training images, {int(wrong.sum()):,} of which have wrong labels")
    return svg(WIDE, 256.0, [*axes, hint(Markup("").join(marks), told)], told)
