"""The page's pictures of numbers: dots with whiskers, histograms, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from bilp.report.charts import (
    Scale,
    bar,
    bottom_axis,
    dot,
    hint,
    left_axis,
    line,
    linear_scale,
    log_scale,
    number,
    polyline,
    svg,
    text,
)

WIDE = 440.0
SMALL = 190.0
CURVE_POINTS = 240
LETTER = 7.4
"""Width of a letter of a label: enough for the wider fonts of print."""


MARKS = {"c-kept": "■", "c-dropped": "□"}
"""Layers that are told apart without colors: by full and by hollow bars, and these signs."""


@dataclass(frozen=True)
class Whisker:
    """One row of a dot-and-whisker chart: a mean with the half width of its interval (None: one value only)."""

    label: str
    mean: float
    half_width: float | None
    css: str


@dataclass(frozen=True)
class Part:
    """One layer of a stacked histogram: its name, the values that fall into it and its color class."""

    name: str
    values: np.ndarray
    css: str


@dataclass(frozen=True)
class Curve:
    """One line of a chart: `x` ascending, `y` of the same length."""

    name: str
    x: np.ndarray
    y: np.ndarray
    css: str
    dots: bool = False


def whiskers(groups: Sequence[tuple[str, Sequence[Whisker]]], label: str, alt: str) -> Markup:
    """Fractions as dots with their intervals; `groups` are (heading, rows), the heading is left out when empty."""
    rows = [row for _, members in groups for row in members]
    reach = [row.mean + sign * (row.half_width or 0.0) for row in rows for sign in (-1, 1)]
    left = 18 + LETTER * max((len(row.label) for row in rows), default=0)
    right, step = WIDE - 14, 26.0
    scale = linear_scale([min(max(value, 0.0), 1.0) for value in reach], left, right)
    parts: list[Markup] = []
    y = 6.0
    for heading, members in groups:
        if heading:
            parts.append(text(2, y + 14, heading, css="heading"))
            y += 22
        for row in members:
            parts.append(_whisker(row, scale, y + step / 2))
            y += step
        y += 4
    axis = bottom_axis(scale, y, label, top=4, percent=True)
    return svg(WIDE, y + 36, [axis, *parts], alt)


def _whisker(row: Whisker, scale: Scale, y: float) -> Markup:
    center = scale(row.mean)
    marks = Markup("")
    words = f"{row.label}: {100 * row.mean:.1f} %"
    if row.half_width is not None:
        low, high = scale(row.mean - row.half_width), scale(row.mean + row.half_width)
        marks += line(low, y, high, y, f"whisker {row.css}")
        marks += line(low, y - 4, low, y + 4, f"whisker {row.css}") + line(high, y - 4, high, y + 4, f"whisker {row.css}")
        words += f" ± {100 * row.half_width:.1f}"
    marks += dot(center, y, 4.5, f"dot {row.css}")
    return text(scale.start - 10, y + 4, row.label, anchor="end") + hint(marks, words)


def bin_edges(values: np.ndarray, bins: int, *, log: bool) -> np.ndarray:
    """Edges of `bins` equal intervals (equal ratios when `log`) over the values, the outer half percent clipped.

    A few extreme values would otherwise press everything else into one bar; they are counted in the outermost bars.
    """
    usable = values[values > 0] if log else values
    if usable.size == 0:
        return np.geomspace(0.1, 10.0, bins + 1) if log else np.linspace(0.0, 1.0, bins + 1)
    low, high = (float(end) for end in np.quantile(usable, (0.005, 0.995)))
    if high - low <= 1e-9 * max(abs(high), 1e-30):
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)


def histogram(
    title: str,
    parts: Sequence[Part],
    edges: np.ndarray,
    label: str,
    *,
    thresholds: Sequence[float] = (),
    log: bool = False,
    tallest: int | None = None,
    lines: Sequence[tuple[str, np.ndarray]] = (),
) -> Markup:
    """A small stacked histogram.

    Args:
        title: Of what, above it.
        parts: Its layers, the lowest first.
        edges: Of the bars, ascending.
        label: Of the horizontal axis.
        thresholds: Values that dashed lines mark.
        log: Whether the horizontal axis is logarithmic.
        tallest: Height of the scale that several charts share.
        lines: Color classes, and heights over the middle of each bar, of lines in front of the bars.
    """
    counts = [np.histogram(np.clip(part.values, edges[0], edges[-1]), bins=edges)[0] for part in parts]
    top, base, left, right = 22.0, 104.0, 6.0, SMALL - 6
    across = Scale(float(edges[0]), float(edges[-1]), left, right, log=log)
    highest = max((float(heights.max()) for _, heights in lines), default=0.0)
    up = Scale(0.0, max(float(tallest or 0), float(np.sum(counts, axis=0).max()), highest, 1.0), base, top)
    marks: list[Markup] = []
    for k in range(len(edges) - 1):
        x, width = across(float(edges[k])), across(float(edges[k + 1])) - across(float(edges[k]))
        below, bars, words = 0, Markup(""), []
        for part, count in zip(parts, counts, strict=True):
            if count[k]:
                bars += bar(x + 0.5, up(below + count[k]), max(width - 1, 0.5), up(below) - up(below + count[k]), f"fill {part.css}")
                below += int(count[k])
                words.append(f"{part.name} {count[k]}")
        if words:
            marks.append(hint(bars, f"{label} {number(float(edges[k]))} to {number(float(edges[k + 1]))}: {', '.join(words)}"))
    marks += [line(across(value), top - 4, across(value), base, "threshold") for value in thresholds]
    middles = [(across(float(left)) + across(float(right))) / 2 for left, right in pairwise(edges)]
    for css, heights in lines:
        marks.append(polyline([(x, up(float(y))) for x, y in zip(middles, heights, strict=True)], f"curve {css}"))
    totals = ", ".join(f"{part.values.size:,} {part.name}" for part in parts)
    alt = f"Histogram of {title}: {totals}"
    return svg(SMALL, 138, [_histogram_head(title, parts, left, right), *marks, bottom_axis(across, base, label, wanted=4)], alt)


def _histogram_head(title: str, parts: Sequence[Part], left: float, right: float) -> Markup:
    """The title, shortened to the room there is, and how many values each part holds, in its color."""
    numbers = Markup("")
    for part in reversed(parts):
        shown = f"{MARKS[part.css]} {part.values.size:,}" if part.css in MARKS else f"{part.values.size:,}"
        numbers += text(right, 13, shown, anchor="end", css=part.css)
        right -= 7.0 * len(shown) + 8
    room = int((right - left) / 7.4)
    short = title if len(title) <= room else title[: max(room - 1, 1)] + "…"
    return hint(text(left, 13, short, css="heading"), title) + numbers


def tallest_bar(groups: Sequence[Sequence[Part]], edges: np.ndarray) -> int:
    """Height that histograms drawn with equal edges must share to be comparable."""
    stacks = [np.clip(np.concatenate([part.values for part in parts]), edges[0], edges[-1]) for parts in groups]
    return max((int(np.histogram(values, bins=edges)[0].max()) for values in stacks), default=1)


def curves(
    series: Sequence[Curve],
    across: str,
    up: str,
    alt: str,
    *,
    target: float | None = None,
    percent: bool = False,
    log: bool = False,
    whole: bool = False,
    zero: bool = True,
) -> Markup:
    """Lines over a common horizontal axis.

    Args:
        series: The lines.
        across: Label of the horizontal axis.
        up: Label of the vertical axis.
        alt: What the chart shows, in words.
        target: Height of a dashed horizontal line.
        percent: Whether heights are fractions that are shown in per cent.
        log: Whether the vertical axis is logarithmic.
        whole: Whether only whole numbers are marked on the horizontal axis.
        zero: Whether a linear vertical axis begins at zero.
    """
    height, left, right, top, base = 220.0, 48.0, WIDE - 12, 24.0, 180.0
    thin = [thinned(curve) for curve in series]
    xs = np.concatenate([curve.x for curve in thin])
    ys = np.concatenate([curve.y for curve in thin])
    wide = Scale(float(xs.min()), max(float(xs.max()), float(xs.min()) + 1), left, right)
    heights = [float(value) for value in ys] + ([] if target is None else [target])
    high = log_scale(heights, base, top) if log else linear_scale(heights, base, top, wanted=4, zero=zero)
    parts = [left_axis(high, left, right, up, percent=percent), bottom_axis(wide, base, across, whole=whole)]
    if target is not None:
        parts.append(line(left, high(target), right, high(target), "threshold"))
    for curve in thin:
        points = [(wide(float(x)), high(float(y))) for x, y in zip(curve.x, curve.y, strict=True)]
        parts.append(hint(polyline(points, f"curve {curve.css}"), curve.name))
        if curve.dots:
            for (px, py), x, y in zip(points, curve.x, curve.y, strict=True):
                shown = f"{100 * y:.1f} %" if percent else number(float(y))
                parts.append(hint(dot(px, py, 3.5, f"dot {curve.css}"), f"{curve.name}, {across} {number(float(x))}: {shown}"))
    return svg(WIDE, height, parts, alt)


def thinned(curve: Curve, points: int = CURVE_POINTS) -> Curve:
    """At most `points` points: means over equal stretches of a longer line."""
    if curve.x.size <= points:
        return curve
    cuts = np.linspace(0, curve.x.size, points + 1).astype(int)
    length = np.diff(cuts)
    x, y = (np.add.reduceat(values.astype(np.float64), cuts[:-1]) / length for values in (curve.x, curve.y))
    return Curve(curve.name, x, y, curve.css, curve.dots)
