"""What can be taken from the page: files as data links, charts as pictures that stand alone."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from markupsafe import Markup

_BOX = re.compile(r'<svg viewBox="0 0 (?P<width>[\d.]+) (?P<height>[\d.]+)"')
_CHARTS = re.compile(r"/\* charts \*/(?P<rules>.*?)/\* end of charts \*/", re.DOTALL)
_COLORS = re.compile(r":root \{(?P<rules>.*?)\}", re.DOTALL)
GAP = 16.0


@dataclass(frozen=True)
class Download:
    """A link to a file that the page itself holds."""

    name: str
    uri: str
    title: str


def as_data(content: str, kind: str) -> str:
    """A text as the address of a link."""
    return f"data:{kind};base64," + base64.b64encode(content.encode()).decode("ascii")


def figure_file(name: str, title: str, charts: Sequence[Markup], abreast: int = 1) -> Download:
    """Charts of one size on one sheet, so many abreast, as an SVG file in the page's light colors.

    Args:
        name: Of the file, without its ending.
        title: What the link says.
        charts: Drawn by `bilp.report.charts.svg`.
        abreast: Charts in a row.
    """
    boxes = [found for chart in charts if (found := _BOX.match(chart))]
    width, height = (max(float(box[side]) for box in boxes) + GAP for side in ("width", "height"))
    columns = min(abreast, len(charts))
    sheet = (columns * width + GAP, math.ceil(len(charts) / columns) * height + GAP)
    placed = [_placed(chart, GAP + k % columns * width, GAP + k // columns * height) for k, chart in enumerate(charts)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sheet[0]:g} {sheet[1]:g}" width="{sheet[0]:g}" height="{sheet[1]:g}">'
    page = '<rect width="100%" height="100%" fill="#fff"/>'
    content = "".join([head, f"<style>{_style()}</style>", page, *placed, "</svg>"])
    return Download(f"{name}.svg", as_data(content, "image/svg+xml"), title)


def _placed(chart: Markup, x: float, y: float) -> str:
    box = _BOX.match(chart)
    assert box is not None
    size = f'<svg x="{x:g}" y="{y:g}" width="{box["width"]}" height="{box["height"]}"'
    return size + str(chart)[len("<svg") :]


@cache
def _style() -> str:
    """The page's own rules for charts, with its light colors."""
    page = files("bilp.report").joinpath("style.css").read_text(encoding="utf-8")
    colors, charts = _COLORS.search(page), _CHARTS.search(page)
    assert colors is not None and charts is not None
    rules = ":root{" + colors["rules"].replace("color-scheme: light dark;", "") + "}" + charts["rules"]
    return re.sub(r"\s+", " ", rules).replace("<", "")
