"""The page that puts two scorings side by side."""

from __future__ import annotations

import numpy as np

from bilp.atlas.rank_agreement import SHARES, Agreement
from bilp.report.figures import Curve, curves
from bilp.results.pages import render

MOST_CLASSES = 1000
"""Rows of the table of classes; the first are shown of more."""


def scores_page(found: Agreement) -> bytes:
    """The page; equal agreements give equal bytes."""
    shares = np.array([100 * share for share in SHARES])
    series = [
        Curve("common", shares, np.array(found.overlap), "c-kept", dots=True),
        Curve("by chance", shares, np.array(found.by_chance), "c-dropped"),
    ]
    chart = curves(
        series, "kept of each class, %", "kept by both", "Images that both keep, by the share that is kept", percent=True, target=None
    )
    rows = [(name, _number(value)) for name, value in zip(found.first.class_names, found.correlation.tolist(), strict=True)]
    return render(
        "scores.html.j2",
        title=f"{found.first.title} and {found.second.title}",
        first=found.first,
        second=found.second,
        overall=_number(found.overall),
        within=_number(found.within),
        images=f"{len(found.first.labels):,}",
        chart=chart,
        shares=[
            (f"{100 * share:.0f} %", f"{100 * both:.1f} %", f"{100 * chance:.1f} %")
            for share, both, chance in zip(SHARES, found.overlap, found.by_chance, strict=True)
        ],
        rows=rows[:MOST_CLASSES],
        left_out=max(len(rows) - MOST_CLASSES, 0),
    )


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}".replace("-", "−")
