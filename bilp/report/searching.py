"""Section: how the share was found, what a search tried, on what it judged and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from bilp.evaluate.metrics import Difference
from bilp.report.collect import Sources
from bilp.report.comparison import percent
from bilp.report.figures import Curve, Whisker, curves, whiskers
from bilp.report.timing import duration, seconds_of
from bilp.report.wording import count, share
from bilp.search.candidates import Candidate
from bilp.search.found import Found, open_search, title
from bilp.text.sample_words import spoken

COLORS = ("c-random", "c-unpruned", "c-static", "c-adaptive", "c-bilp", "c-full")
"""Of rungs, the last ones if there are more."""


@dataclass(frozen=True)
class Legend:
    """A rung and its color class."""

    title: str
    css: str


@dataclass(frozen=True)
class SearchRow:
    """A candidate in a rung."""

    rung: str
    title: str
    iterations: str
    accuracy: str
    difference: str
    fate: str


@dataclass(frozen=True)
class Searching:
    """The section's content."""

    decision: str
    method: str
    held_out: str
    trained: str
    cost: str
    reference: str
    chart: Markup
    legend: tuple[Legend, ...]
    rows: tuple[SearchRow, ...]
    told_apart: bool
    """Whether the reference was left for something better by more than its standard error."""


def searching(sources: Sources) -> Searching | None:
    """The section; None if nothing was searched."""
    artifact = sources.one("search")
    if artifact is None:
        return None
    found = open_search(artifact.uri)
    facts, rows = found.facts, found.rows
    names = {int(row["candidate"]): title(row) for row in rows}
    rest = sum(seconds_of(source, sources.runs) for source in sources.artifacts if source.role != "search")
    whole = facts.seconds + rest
    last = rows[0]
    return Searching(
        decision=Candidate(**facts.found).words,  # type: ignore[arg-type]
        method=facts.method,
        held_out=share(facts.held_out),
        trained=f"{count(int(last['distillations']), 'distillation')} of {count(int(last['trainings']), 'training')} each",
        cost=_cost(facts.seconds, whole),
        reference=names[facts.reference],
        chart=_chart(found, names),
        legend=tuple(_legend(found)),
        rows=tuple(_row(row, facts.reference, facts.rungs) for row in rows),
        told_apart=facts.decision != facts.reference,
    )


def _cost(seconds: float, whole: float) -> str:
    if not seconds:
        return "a time that was not recorded"
    return f"{duration(seconds)} of work, {share(seconds / whole)} of the work that this page rests on"


def _legend(found: Found) -> Iterator[Legend]:
    lengths = {int(row["rung"]): f"{row['iterations']:,} iterations" for row in found.rows}
    for rung, css in zip(sorted(lengths), COLORS[-found.facts.rungs :], strict=False):
        yield Legend(f"rung {rung}, {lengths[rung]}", css)


def _row(row: Mapping[str, Any], reference: int, rungs: int) -> SearchRow:
    base = row["candidate"] == reference
    difference = f"{100 * row['difference']:+.1f}".replace("-", "−") + f"\u00a0±\u00a0{100 * row['error']:.1f}"
    fate = "chosen" if row["chosen"] else "goes on" if row["goes_on"] else "" if row["rung"] == rungs else "left out"
    return SearchRow(
        rung=str(row["rung"]),
        title=title(row),
        iterations=f"{row['iterations']:,}",
        accuracy=percent(Difference(row["accuracy"], math.inf, 1)),
        difference="reference" if base else f"{difference} points",
        fate=fate,
    )


def _chart(found: Found, names: Mapping[int, str]) -> Markup:
    """Accuracy by keep, a line for each rung, where keep alone was searched; else a dot for each candidate of each rung."""
    rungs = range(1, found.facts.rungs + 1)
    colors = COLORS[-found.facts.rungs :]
    alt = spoken("Accuracy on held-out training images of every candidate, by rung")
    if set(found.facts.found) == {"keep"} and len(names) > 1 and all(row["drop"] == "" for row in found.rows):
        series = []
        for rung, css in zip(rungs, colors, strict=False):
            rows = sorted((row for row in found.rows if row["rung"] == rung), key=lambda row: float(row["keep"]))
            x, y = (np.array([float(row[name]) for row in rows]) for name in ("keep", "accuracy"))
            series.append(Curve(f"rung {rung}, {rows[0]['iterations']:,} iterations", 100 * x, y, css, dots=True))
        return curves(series, "per cent kept", spoken("accuracy on held-out training images"), alt, percent=True, zero=False)
    groups = [
        (f"rung {rung}", _dots([row for row in found.rows if row["rung"] == rung], css)) for rung, css in zip(rungs, colors, strict=False)
    ]
    return whiskers(groups, spoken("accuracy on held-out training images"), alt)


def _dots(rows: Sequence[Mapping[str, Any]], css: str) -> list[Whisker]:
    return [Whisker(title(row), float(row["accuracy"]), float(row["error"]), css) for row in rows]
