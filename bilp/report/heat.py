"""A square of shares as shaded cells with their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from bilp.report.charts import pixel, svg, text

SIDE = 440.0
DARKEST = 0.6
"""Opacity of a whole share: numbers stay readable on it in either color scheme."""
LONGEST = 14
"""Characters of a name."""


def heat_map(shares: np.ndarray, names: Sequence[str], alt: str) -> Markup:
    """Rows are what things are, columns what they were taken for; `shares` `[n, n]`, each cell in per cent, none below a half."""
    short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names]
    margin = 26 + 6.6 * max(len(name) for name in short)
    cell = (SIDE - margin) / len(names)
    upright = all(6.6 * len(name) < cell for name in short)
    top = 34.0 if upright else margin
    parts = [text(margin + (SIDE - margin) / 2, 11, "taken for", anchor="middle", css="label")]
    for k, name in enumerate(short):
        middle = (k + 0.5) * cell
        parts.append(text(margin - 6, top + middle + 4, name, anchor="end", css="tick"))
        x, y = margin + middle, top - 6
        parts.append(text(x, y, name, anchor="middle", css="tick") if upright else _turned(x + 4, y, name))
    for row in range(len(names)):
        for column in range(len(names)):
            parts.append(_cell(float(shares[row, column]), margin + column * cell, top + row * cell, cell))
    return svg(SIDE, top + cell * len(names) + 4, parts, alt)


def _turned(x: float, y: float, name: str) -> Markup:
    place = (pixel(x), pixel(y))
    return Markup('<text transform="translate({} {}) rotate(-90)" class="tick">{}</text>').format(*place, name)


def _cell(value: float, x: float, y: float, side: float) -> Markup:
    """Nothing for a share that rounds to zero."""
    if math.isnan(value) or round(100 * value) == 0:
        return Markup("")
    box = (pixel(x + 0.5), pixel(y + 0.5), pixel(side - 1), pixel(side - 1), f"{DARKEST * math.sqrt(value):.2f}")
    shade = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="heat" fill-opacity="{}"/>').format(*box)
    return shade + text(x + side / 2, y + side / 2 + 4, f"{100 * value:.0f}", anchor="middle", css="cell")
