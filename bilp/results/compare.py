"""Results side by side: the settings that differ, the accuracies, and a page of both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bilp.errors import ConfigError
from bilp.report.comparison import judgment
from bilp.report.figures import Whisker, whiskers
from bilp.report.outcome import ArmResult
from bilp.report.wording import arm_place, arm_words, count
from bilp.results import cells
from bilp.results.pages import render
from bilp.results.result import Result

ABSENT = "not there"
"""What is shown of a setting that the version did not know which made a result."""


@dataclass(frozen=True)
class SettingRow:
    """A setting and its value in each result."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class AccuracyRow:
    """An arm on a network and what each result says of it."""

    arm: str
    network: str
    title: str
    results: tuple[ArmResult | None, ...]


def differing_settings(results: Sequence[Result]) -> list[SettingRow]:
    """The settings that are not equal in all: dials, then what somebody changed, then what follows. Values as they may be typed."""
    told = [result.settings for result in results]
    paths = [path for settings in told for path in settings]
    differing = dict.fromkeys(path for path in paths if len({cells.value(settings.get(path, ABSENT)) for settings in told}) > 1)
    first = {path: place for place, path in enumerate(_changed_first(results))}
    ordered = sorted(differing, key=lambda path: ("." in path, first.get(path, len(first))))
    return [SettingRow(path, tuple(cells.value(settings.get(path, ABSENT)) for settings in told)) for path in ordered]


def accuracies(results: Sequence[Result]) -> list[AccuracyRow]:
    """Every arm and network of any result, arms from baselines to both prunings."""
    several = len(cells.networks(results)) > 1
    found = dict.fromkeys((each.arm, each.network, cells.arm(each, several)) for result in results for each in result.results)
    ordered = sorted(found, key=lambda row: arm_place(row[0]))
    return [AccuracyRow(*row, tuple(_of(result, *row[:2]) for result in results)) for row in ordered]


def require_several(results: Sequence[Result]) -> None:
    """Raise ConfigError unless there are two different results at least, all of them reports."""
    if len({result.uri for result in results}) < len(results) or len(results) < 2:
        raise ConfigError("give two different reports or more: bilp ls lists them")


def comparison_page(results: Sequence[Result], links: Mapping[str, str]) -> bytes:
    """The page; `links` lead to reports, by their URI."""
    digits = cells.key_digits(results)
    rows = accuracies(results)
    runs = [{"key": result.key[:digits], "subject": cells.subject(result), "link": links.get(result.uri)} for result in results]
    settings = differing_settings(results)
    summary = f"{count(len(settings), 'setting')} differ{'s' if len(settings) == 1 else ''} between them."
    return render(
        "comparison.html.j2",
        title=f"{count(len(results), 'report')} side by side",
        summary=summary,
        chart=_chart(rows, [result.key[:digits] for result in results]),
        runs=runs,
        accuracies=[{"title": row.title, "css": arm_words(row.arm).css, "cells": [_cell(each) for each in row.results]} for row in rows],
        settings=settings,
    )


def _changed_first(results: Sequence[Result]) -> Iterator[str]:
    yield from ("dataset", "method", "ipc")
    for result in results:
        yield from result.changed


def _of(result: Result, arm: str, network: str) -> ArmResult | None:
    return next((each for each in result.results if (each.arm, each.network) == (arm, network)), None)


def _cell(result: ArmResult | None) -> dict[str, str]:
    difference = None if result is None else result.difference
    told = {"difference": cells.difference(result), "judgment": judgment(difference)} if difference else {"difference": "", "judgment": ""}
    told["gain"] = "" if result is None or result.gain is None else f"{cells.gain(result)} over random"
    return {"accuracy": cells.accuracy(result) + (f" (n {result.accuracy.n})" if result else ""), **told}


def _chart(rows: Sequence[AccuracyRow], keys: Sequence[str]) -> Any:
    groups = []
    for row in rows:
        whisked = [(key, each.accuracy) for key, each in zip(keys, row.results, strict=True) if each is not None]
        css = arm_words(row.arm).css
        groups.append((row.title, [Whisker(key, value.mean, _half(value.half_width95), css) for key, value in whisked]))
    told = (", ".join(f"{key} {cells.accuracy(each)}" for key, each in zip(keys, row.results, strict=True)) for row in rows)
    words = "; ".join(f"{row.title}: {values}" for row, values in zip(rows, told, strict=True))
    return whiskers(groups, "accuracy on real test images", f"Accuracy with 95 % intervals. {words}") if groups else ""


def _half(value: float) -> float | None:
    return value if math.isfinite(value) else None
