"""Charts: scales and ticks, histograms that lose no value, thinned curves."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_reader import Page

from bilp.report.charts import Scale, figure, linear_scale, log_scale, number, pixel
from bilp.report.figures import Curve, Part, Whisker, bin_edges, curves, histogram, tallest_bar, thinned, whiskers

VALUES = st.floats(-1e6, 1e6, allow_nan=False)
POSITIVE = st.floats(1e-8, 1e8)


@given(st.lists(VALUES, min_size=1, max_size=20), st.booleans())
def test_linear_scale_holds_all_values_and_marks_round_ones(values: list[float], zero: bool) -> None:
    scale = linear_scale(values, 10.0, 110.0, zero=zero)
    slack = 1e-6 * (scale.high - scale.low)
    assert scale.low - slack <= min(values) and max(values) <= scale.high + slack
    assert not zero or scale.low <= 0 <= scale.high
    ticks = scale.ticks(5)
    assert 2 <= len(ticks) <= 8
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])
    assert f"{steps[0]:.6e}"[0] in "125" and re.fullmatch(r"[125]\.0+", f"{steps[0]:.6e}".split("e")[0])


@given(st.lists(POSITIVE, min_size=1, max_size=20))
def test_log_scale_is_monotone_and_marks_at_least_one_value_inside(values: list[float]) -> None:
    scale = log_scale(values, 0.0, 100.0)
    places = [scale(value) for value in sorted(values)]
    assert places == sorted(places) and places[0] >= 0 and places[-1] <= 100.0001
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks(5))
    assert len(scale.ticks(5)) <= 12


def test_log_scale_gives_equal_ratios_equal_room() -> None:
    scale = Scale(1.0, 1000.0, 0.0, 300.0, log=True)
    assert [scale(value) for value in (1.0, 10.0, 100.0, 1000.0)] == pytest.approx([0, 100, 200, 300])
    assert scale.ticks(5) == pytest.approx([1, 10, 100, 1000])
    assert Scale(0.5, 4.0, 0.0, 1.0, log=True).ticks(5) == pytest.approx([0.5, 1, 2])
    assert Scale(0.6, 1.9, 0.0, 1.0, log=True).ticks(5) == pytest.approx([0.7, 1, 1.5])


def test_values_outside_a_scale_are_clipped() -> None:
    scale = Scale(0.0, 1.0, 10.0, 20.0)
    assert (scale(-5), scale(0.5), scale(7)) == (10.0, 15.0, 20.0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.1234, "0.123"), (-0.5, "−0.5"), (12.34, "12.3"), (1234.4, "1234"), (20000, "20k"), (3.2e7, "3.2e7"), (1.5e-5, "1.5e−5")],
)
def test_number(value: float, shown: str) -> None:
    assert number(value) == shown


def test_figures_of_a_column_have_equal_precision() -> None:
    assert [figure(value) for value in (2.1, 2.17, 0.54, 100.0, -1.0, 0.0)] == ["2.10", "2.17", "0.540", "100", "−1.00", "0"]


def test_coordinates_are_short() -> None:
    assert (pixel(10.0), pixel(10.04), pixel(10.06), pixel(100.0)) == ("10", "10", "10.1", "100")


@pytest.mark.parametrize("log", [False, True])
def test_histogram_counts_every_value_once(log: bool) -> None:
    rng = np.random.default_rng()
    kept, dropped = rng.lognormal(size=300), rng.lognormal(1.0, size=111)
    edges = bin_edges(np.concatenate([kept, dropped]), 12, log=log)
    chart = Page(str(histogram("class <7>", [Part("kept", kept, "c-kept"), Part("dropped", dropped, "c-dropped")], edges, "loss", log=log)))
    counts: dict[str, int] = {"kept": 0, "dropped": 0}
    for name, count in re.findall(r"(kept|dropped) (\d+)", chart.text):
        counts[name] += int(count)
    assert counts == {"kept": 300, "dropped": 111}
    assert chart.all("svg")[0]["aria-label"] == "Histogram of class <7>: 300 kept, 111 dropped"


def test_stacked_bars_are_as_high_as_their_counts() -> None:
    kept, dropped = np.array([0.1, 0.2, 1.5]), np.array([1.6])
    edges = np.array([0.0, 1.0, 2.0])
    chart = Page(str(histogram("x", [Part("kept", kept, "c-kept"), Part("dropped", dropped, "c-dropped")], edges, "loss", tallest=4)))
    bars = [(bar["class"], float(bar["y"]), float(bar["height"])) for bar in chart.all("rect")]
    whole = 104.0 - 22.0
    assert [(css, height) for css, _, height in bars] == [
        ("fill c-kept", whole / 2),
        ("fill c-kept", pytest.approx(whole / 4)),
        ("fill c-dropped", pytest.approx(whole / 4)),
    ]
    assert bars[2][1] + bars[2][2] == pytest.approx(bars[1][1])  # the dropped bar stands on the kept one
    assert tallest_bar([[Part("kept", kept, ""), Part("dropped", dropped, "")]], edges) == 2


def test_whiskers_stand_where_the_interval_ends() -> None:
    chart = Page(str(whiskers([("", [Whisker("a", 0.6, 0.1, "c-full"), Whisker("b", 0.8, None, "c-bilp")])], "accuracy", "alt")))
    dots = {dot["class"]: float(dot["cx"]) for dot in chart.all("circle")}
    left, right = next((float(x["x1"]), float(x["x2"])) for x in chart.all("line") if x["class"] == "whisker c-full" and x["y1"] == x["y2"])
    assert dots["dot c-full"] == pytest.approx((left + right) / 2, abs=0.11)
    assert (right - left) / 2 == pytest.approx((dots["dot c-bilp"] - dots["dot c-full"]) / 2, abs=0.11)
    assert "a: 60.0 % ± 10.0" in chart.text and "b: 80.0 %" in chart.text


@given(st.integers(1, 2000), st.integers(1, 300))
def test_thinned_keeps_the_mean_of_equal_stretches(length: int, points: int) -> None:
    x = np.arange(length, dtype=np.float64)
    short = thinned(Curve("a", x, 3 * x + 1, "c"), points)
    assert short.x.size == min(length, points)
    assert np.allclose(short.y, 3 * short.x + 1)
    assert (np.diff(short.x) > 0).all()


@pytest.mark.parametrize("options", [{}, {"log": True}, {"percent": True, "target": 0.2}, {"whole": True}])
def test_curves_draw_short_and_flat_series(options: dict[str, Any]) -> None:
    series = [Curve("one", np.array([1.0]), np.array([0.5]), "c-bilp", dots=True), Curve("flat", np.arange(3.0), np.full(3, 0.5), "c-full")]
    chart = Page(str(curves(series, "round", "share", "alt", **options)))
    assert [line["class"] for line in chart.all("polyline")] == ["curve c-bilp", "curve c-full"]
    assert "nan" not in str(chart.elements)
