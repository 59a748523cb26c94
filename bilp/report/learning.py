"""Part of the accuracy section: how the loss of the evaluated networks fell, and how their test accuracy rose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from bilp.report.comparison import Training, network_title
from bilp.report.figures import Curve, curves
from bilp.report.wording import arm_place, arm_words

LOG_RATIO = 20


@dataclass(frozen=True)
class LearningCurves:
    """The charts of one network; one is None if nothing of its kind was recorded."""

    network: str
    loss: Markup | None
    accuracy: Markup | None
    epochs: str

    @property
    def charts(self) -> list[Markup]:
        """Those that there are."""
        return [chart for chart in (self.loss, self.accuracy) if chart is not None]


def learning(course: pd.DataFrame, rows: Sequence[Training]) -> list[LearningCurves]:
    """By network, in the order of the trainings `rows`; `course` are rows of `bilp.artifacts.tables.COURSE` with their arm."""
    found = []
    for network in dict.fromkeys(row.network for row in rows):
        mine = course[course["network"] == network]
        if len(mine):
            epochs = {row.arm: row.epochs for row in rows if row.network == network}
            found.append(_of_network(mine, network, epochs))
    return found


def _of_network(course: pd.DataFrame, network: str, epochs: dict[str, int]) -> LearningCurves:
    arms = sorted(set(course["arm"]), key=arm_place)
    charts: dict[str, Markup | None] = {}
    for column, label in (("loss", "training loss"), ("accuracy", "test accuracy")):
        series = [curve for arm in arms if (curve := _curve(course[course["arm"] == arm], column, arm)) is not None]
        charts[column] = _chart(series, label, column == "accuracy") if series else None
    lengths = ", ".join(f"{arm_words(arm).title} {epochs[arm]:,}" for arm in arms)
    return LearningCurves(network_title(network), charts["loss"], charts["accuracy"], lengths)


def _curve(course: pd.DataFrame, column: str, arm: str) -> Curve | None:
    """The mean over trainings after each epoch that they have in common, over the share of the epochs."""
    values = course.dropna(subset=column).groupby("epoch")[column].mean().astype("float64")
    if values.empty:
        return None
    epochs = values.index.to_numpy(np.float64)
    words = arm_words(arm)
    return Curve(words.title, 100 * epochs / course["epoch"].max(), values.to_numpy(), words.css, dots=column == "accuracy")


def _chart(series: Sequence[Curve], label: str, percent: bool) -> Markup:
    values = np.concatenate([curve.y for curve in series])
    log = not percent and bool((values > 0).all() and values.max() > LOG_RATIO * values.min())
    ends = "; ".join(f"{curve.name} from {_shown(curve.y[0], percent)} to {_shown(curve.y[-1], percent)}" for curve in series)
    alt = f"{label.capitalize()} over the training: {ends}"
    return curves(series, "per cent of the training", label, alt, percent=percent, log=log)


def _shown(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.4g}"
