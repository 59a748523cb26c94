"""Small vector charts as inline SVG: scales, ticks, frames, marks.

Written out here rather than drawn by a plotting library because the page needs charts that follow its light and dark
colors (every mark has a CSS class), keep their text readable on a phone (many small charts that wrap), explain a
mark when it is pointed at, and are the same bytes for the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Scale:
    """Maps values in [low, high] to pixels in [start, stop], linearly or by logarithm."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Position of `value` in pixels; values outside the range are clipped to its ends."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        share = math.log(value / low) / math.log(high / low) if self.log else (value - low) / (high - low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values inside the range, about `wanted` of them."""
        return log_ticks(self.low, self.high, wanted) if self.log else linear_ticks(self.low, self.high, wanted)


def linear_step(low: float, high: float, wanted: int) -> float:
    """The step out of 1, 2, 5 x 10^k that cuts [low, high] into at most `wanted` intervals."""
    raw = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= raw * (1 - 1e-9))


def linear_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Multiples of a round step inside [low, high]."""
    step = linear_step(low, high, wanted)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * k for k in range(first, last + 1)]


def log_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Powers of ten inside [low, high], thinned to `wanted`; multiples of them where there are too few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside: list[float] = []
    for factors in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        inside = [factor * 10.0**k for k in range(first, last + 1) for factor in factors if low <= factor * 10.0**k <= high]
        if len(inside) >= 3:
            break
    return inside[:: max(1, math.ceil(len(inside) / wanted))]


def linear_scale(values: Sequence[float], start: float, stop: float, *, wanted: int = 5, zero: bool = False) -> Scale:
    """A linear scale whose ends are round values around `values`; `zero` makes it include zero."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-12 * max(abs(high), 1.0):
        low, high = (low, low + 1.0) if low == 0 else (low - abs(low) / 2, high + abs(high) / 2)
    step = linear_step(low, high, wanted)
    return Scale(step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9), start, stop)


def log_scale(values: Sequence[float], start: float, stop: float) -> Scale:
    """A logarithmic scale from the smallest to the largest positive value."""
    positive = [value for value in values if math.isfinite(value) and value > 0] or [0.1, 10.0]
    low, high = min(positive), max(positive)
    return Scale(low / 1.5, high * 1.5, start, stop, log=True) if high < low * 1.01 else Scale(low, high, start, stop, log=True)


def number(value: float) -> str:
    """A short label: three significant digits, 12k instead of 12000."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    if size >= 1e4:
        return f"{value / 1e3:.3g}k".replace("-", "−")
    return (f"{value:.0f}" if size >= 1e3 else f"{value:.3g}").replace("-", "−")


def figure(value: float) -> str:
    """`number` with its trailing zeros, for columns: '2.10' below '2.17'."""
    return f"{value:#.3g}".removesuffix(".").replace("-", "−") if 1e-3 <= abs(value) < 1e3 else number(value)


def pixel(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def text(x: float, y: float, content: str, *, anchor: str = "start", css: str = "") -> Markup:
    """A text element; `content` is escaped."""
    style = Markup(' class="{}"').format(css) if css else ""
    return Markup('<text x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(pixel(x), pixel(y), anchor, style, content)


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    """A straight line."""
    points = (pixel(x1), pixel(y1), pixel(x2), pixel(y2))
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(*points, css)


def bar(x: float, y: float, width: float, height: float, css: str) -> Markup:
    """A filled rectangle."""
    box = (pixel(x), pixel(y), pixel(width), pixel(height))
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>').format(*box, css)


def dot(x: float, y: float, radius: float, css: str) -> Markup:
    """A filled circle."""
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(pixel(x), pixel(y), pixel(radius), css)


def polyline(points: Sequence[tuple[float, float]], css: str) -> Markup:
    """An open line through `points`."""
    path = " ".join(f"{pixel(x)},{pixel(y)}" for x, y in points)
    return Markup('<polyline points="{}" class="{}"/>').format(path, css)


def hint(content: Markup, words: str) -> Markup:
    """`content` with words that appear when it is pointed at."""
    return Markup("<g>{}<title>{}</title></g>").format(content, words)


def bottom_axis(
    scale: Scale, y: float, label: str, *, top: float | None = None, percent: bool = False, whole: bool = False, wanted: int = 5
) -> Markup:
    """Ticks and label of a horizontal axis.

    Args:
        scale: Of the axis.
        y: Its height.
        label: Below it.
        top: Where grid lines end, if there are any.
        percent: Whether values are fractions that are shown in per cent.
        whole: Whether only whole numbers are marked.
        wanted: Number of marks, about.
    """
    parts = [line(scale.start, y, scale.stop, y, "axis")]
    for value in scale.ticks(wanted):
        if whole and abs(value - round(value)) > 1e-9:
            continue
        x = scale(value)
        if top is not None:
            parts.append(line(x, top, x, y, "grid"))
        parts.append(text(x, y + 14, f"{number(100 * value)} %" if percent else number(value), anchor="middle", css="tick"))
    parts.append(text((scale.start + scale.stop) / 2, y + 30, label, anchor="middle", css="label"))
    return Markup("").join(parts)


def left_axis(scale: Scale, x: float, right: float, label: str, *, percent: bool = False, wanted: int = 4) -> Markup:
    """Ticks, grid lines and, above it, the label of a vertical axis.

    Args:
        scale: Of the axis.
        x: Where it stands.
        right: Where grid lines end.
        label: Above it.
        percent: Whether values are fractions that are shown in per cent.
        wanted: Number of marks, about.
    """
    parts = []
    for value in scale.ticks(wanted):
        y = scale(value)
        parts.append(line(x, y, right, y, "grid"))
        parts.append(text(x - 5, y + 3.5, f"{number(100 * value)} %" if percent else number(value), anchor="end", css="tick"))
    parts.append(text(2, 11, label, css="label"))
    return Markup("").join(parts)


def svg(width: float, height: float, content: Sequence[Markup], alt: str) -> Markup:
    """The finished chart; `alt` says in words what it shows."""
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(pixel(width), pixel(height), escape(alt))
    return head + Markup("").join(content) + Markup("</svg>")
