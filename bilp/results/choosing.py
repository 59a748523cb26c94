"""Which results somebody asks for, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bilp.results.result import Result


def _accuracy(result: Result) -> float:
    return -1.0 if result.main is None else result.main.accuracy.mean


def _difference(result: Result) -> float:
    return -2.0 if result.main is None or result.main.difference is None else result.main.difference.mean


ORDERS: dict[str, tuple[Callable[[Result], Any], bool]] = {
    "when": (lambda result: result.created, True),
    "accuracy": (_accuracy, True),
    "difference": (_difference, True),
    "size": (lambda result: -1 if result.size is None else result.size, True),
    "dataset": (lambda result: (result.dataset, result.method, result.ipc or 0), False),
    "method": (lambda result: (result.method, result.dataset, result.ipc or 0), False),
    "key": (lambda result: result.key, False),
}
"""What results can be sorted by: the value, and whether the largest comes first."""


def chosen(results: Sequence[Result], dataset: str | None = None, method: str | None = None, sort: str = "when") -> list[Result]:
    """Those of a data set and a method, if they are given; `sort` is a key of ORDERS. Equal ones stay in the order given."""
    kept = [result for result in results if dataset in (None, result.dataset) and method in (None, result.method)]
    value, largest_first = ORDERS[sort]
    return sorted(kept, key=value, reverse=largest_first)
