"""What an empty field of a form leads to, in words that are true for the data sets and methods that the form is for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from bilp.config.base import told
from bilp.config.defaults import GIVEN
from bilp.config.methods.registry import either, usable
from bilp.config.nested import leaves
from bilp.config.pipeline import PipelineConfig
from bilp.config.sources import SOURCES
from bilp.registry import AS_TYPED

EMPTY = "If empty"
OWN_DEFAULT = ("dataset", "method", "ipc")
"""The dials that cases differ in: what they are if they are empty follows from nothing."""
IPC = (1, 10, 50)
"""What papers report; what depends on others between them is said to depend on ipc."""


@dataclass(frozen=True)
class Case:
    """One choice of the dials, every value that follows from it by its path, and which of these the data set decides."""

    dataset: str
    method: str
    ipc: int
    values: Mapping[str, Any]
    by_dataset: frozenset[str]


@cache
def cases(datasets: tuple[str, ...], methods: tuple[str, ...] = ()) -> tuple[Case, ...]:
    """Every case of these data sets and methods; of all methods that can be used if none are named."""
    chosen = methods or tuple(method.name for method in usable())
    return tuple(_case(*dials) for dials in itertools.product(datasets, chosen, IPC))


@cache
def _case(dataset: str, method: str, ipc: int) -> Case:
    place = {"ingest": {"uri": "images"}} if SOURCES[dataset].needs_uri else {}
    config = PipelineConfig.model_validate({"dataset": dataset, "method": method, "ipc": ipc, **place})
    origins = config.origins or {}
    values = {path: value for path, value in leaves(config.model_dump(mode="json", context=AS_TYPED)) if origins.get(path) != GIVEN}
    return Case(dataset, method, ipc, values, frozenset(path for path in values if origins.get(path, "").startswith("dataset ")))


def if_empty(path: str, among: Iterable[Case]) -> str:
    """What is told, such as "If empty: 0.5; 0.8 for digits."; nothing where no value is known, or nothing is what it is.

    Values that depend on several dials are told for the first case alone, as what they are: derived.
    """
    if path in OWN_DEFAULT:
        return f"{EMPTY}: {told(PipelineConfig.model_fields[path].default)}."
    known = [case for case in among if path in case.values]
    if not known or all(case.values[path] is None for case in known):
        return ""
    for dial, words in (("dataset", "for {}"), ("method", "with {}")):
        told_by_dial = _by_dial(path, known, attrgetter(dial), words)
        if told_by_dial:
            return f"{EMPTY}: {told_by_dial}."
    first = known[0]
    return f"{EMPTY}: derived from the dials, {_text(first.values[path])} for {first.dataset} with {first.method} at ipc {first.ipc}."


def _by_dial(path: str, known: list[Case], dial: Callable[[Case], str], words: str) -> str:
    """The value of most, then the others with what they are of, if the dial alone decides it; else nothing."""
    by_name: dict[str, set[str]] = {}
    for case in known:
        by_name.setdefault(dial(case), set()).add(_text(case.values[path]))
    if any(len(values) > 1 for values in by_name.values()):
        return ""
    names: dict[str, list[str]] = {}
    for name, (value,) in by_name.items():
        names.setdefault(value, []).append(name)
    if len(names) == 1 and all(path in case.by_dataset for case in known):
        return f"{next(iter(names))} for {either(dict.fromkeys(case.dataset for case in known))}"
    usual, *others = sorted(names, key=lambda value: -len(names[value]))
    return "; ".join([usual, *(f"{value} {words.format(either(names[value]))}" for value in others)])


def _text(value: Any) -> str:
    return "nothing" if value is None else told(tuple(map(_part, value)) if isinstance(value, list) else value)


def _part(value: Any) -> str:
    """A part of a list; of a network, its name."""
    return str(value.get("name", "") if isinstance(value, Mapping) else value)
