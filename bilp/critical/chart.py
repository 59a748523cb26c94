"""The curve of critical shares: accuracy over the share of the samples, which is on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from bilp.report.charts import Scale, bottom_axis, dot, hint, left_axis, line, linear_scale, number, polyline, svg, text
from bilp.text.sample_words import spoken

WIDTH, HEIGHT = 640.0, 300.0
COLORS = ("c-bilp", "c-random", "c-adaptive", "c-static", "c-full", "c-other")
"""Of criteria, again from the first if there are more."""
MARGIN = 1.12
"""Room beside the outermost shares, as a factor."""
STEP = 0.012
"""By how much of the axis points of different criteria stand beside each other."""


def color(number: int) -> str:
    """The color class of a criterion."""
    return COLORS[number % len(COLORS)]


def curve(rows: Sequence[Mapping[str, Any]], critical: Mapping[str, float], tolerance: float) -> Markup:
    """Every criterion as a line with intervals, its critical share marked, and the accuracy that is as good as the whole dashed."""
    left, right, top, base = 52.0, WIDTH - 16, 26.0, HEIGHT - 44
    across = Scale(100 * min(row["share"] for row in rows) / MARGIN, 100.0 * MARGIN, left, right, log=True)
    half = {id(row): min(float(row["half_width95"]), 1.0) for row in rows}
    reach = [min(max(row["accuracy"] + sign * half[id(row)], 0.0), 1.0) for row in rows for sign in (-1, 1)]
    up = linear_scale(reach, base, top, wanted=5)
    aim = rows[0]["accuracy"] - tolerance
    parts = [
        left_axis(up, left, right, spoken("accuracy on real test images"), percent=True),
        bottom_axis(across, base, "per cent of the samples"),
    ]
    parts.append(hint(line(left, up(aim), right, up(aim), "threshold"), f"within the tolerance of all samples: {100 * aim:.1f} %"))
    names = list(critical)
    for k, name in enumerate(names):
        own = sorted((row for row in rows if row["criterion"] == name), key=lambda row: float(row["share"]))
        shift = (k - (len(names) - 1) / 2) * STEP * (right - left)
        points = [(min(max(across(100 * row["share"]) + shift, left), right), up(row["accuracy"])) for row in own]
        parts.append(hint(polyline(points, f"curve {color(k)}"), name))
        for (x, y), row in zip(points, own, strict=True):
            low, high = (up(min(max(row["accuracy"] + sign * half[id(row)], 0.0), 1.0)) for sign in (-1, 1))
            marked = row["share"] == critical[name]
            told = f"{name}, {100 * row['share']:.3g} % ({row['samples']:,} samples): {100 * row['accuracy']:.1f} %"
            mark = line(x, low, x, high, f"whisker {color(k)}") + dot(x, y, 6.0 if marked else 3.5, f"dot {color(k)}")
            parts.append(hint(mark, told + (", the critical share" if marked else "")))
            if marked and row["share"] < 1:
                parts.append(text(x, high - 6, f"{number(100 * row['share'])} %", css=color(k)))
    told = "; ".join(f"{name}: critical share {100 * share:.3g} %" for name, share in critical.items())
    return svg(WIDTH, HEIGHT, parts, f"Accuracy by share of the samples. {told}")
