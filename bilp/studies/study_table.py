"""The tables of a study: accuracy of each arm in each cell, paired differences to the references, and what scores detected."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bilp.artifacts.tables import NOT_RECORDED
from bilp.evaluate.metrics import TopK, interval
from bilp.studies.label_robustness import label_robustness
from bilp.studies.statistics import Accuracy, BySeed, Comparison, accuracy, comparisons
from bilp.studies.study_part import Part
from bilp.studies.study_plan import Cell, Plan


@dataclass(frozen=True)
class Entry:
    """An arm in a cell on a network."""

    cell: Cell
    arm: str
    network: str
    accuracy: Accuracy
    seconds: float
    """Mean seconds of distillation per seed; NaN where it is not known."""
    images: int
    """That networks were trained on, at most."""
    against: Mapping[str, Comparison]
    """By reference arm."""
    top_k: TopK | None = None
    """None where top-k accuracies were not recorded for all seeds alike."""
    label_robustness: float | None = None
    """DD-Ranking's score in [0, 1]; None where the study has not what it is made of."""


@dataclass(frozen=True)
class Detected:
    """A score in a cell: means over the seeds with half the width of their 95 % interval (infinite with one seed)."""

    cell: Cell
    arm: str
    """Empty for scores that arms share."""
    score: str
    seeds: int
    wrong: float
    samples: float
    auroc: tuple[float, float]
    precision: tuple[float, float]
    auprc: float
    dropped_wrong: float
    """Share of the wrong labels that a selection by this score dropped; NaN where none was made."""
    kept: float
    """Share of all samples that the selection kept; NaN likewise."""
    wrong_kept: float
    """Share of wrong labels among what was kept; NaN likewise."""


@dataclass(frozen=True)
class Table:
    """All of a study that is there."""

    plan: Plan
    entries: tuple[Entry, ...]
    detected: tuple[Detected, ...]
    done: Mapping[int, int]
    """Seeds that are there, by cell."""
    networks: tuple[str, ...]

    def of(self, cell: Cell, arm: str, network: str) -> Entry | None:
        """An arm in a cell on a network; None where it is not there."""
        found = (entry for entry in self.entries if (entry.cell.number, entry.arm, entry.network) == (cell.number, arm, network))
        return next(found, None)

    @property
    def complete(self) -> bool:
        """Whether every cell has every seed."""
        return all(self.done[cell.number] == self.plan.study.seeds for cell in self.plan.cells)


def table_of(plan: Plan, parts: Iterable[Part]) -> Table:
    """What the parts of a study say together."""
    found = list(parts)
    cells = {cell.title: cell for cell in plan.cells}
    values: dict[tuple[str, str, str], dict[int, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    rows: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    images: dict[tuple[str, str], int] = defaultdict(int)
    for row in (row for part in found for row in part.rows):
        rows[row["cell"], row["arm"], row["network"]].append(row)
        values[row["cell"], row["arm"], row["network"]][row["seed"]].append((row["training"], row["accuracy"]))
        images[row["cell"], row["arm"]] = max(images[row["cell"], row["arm"]], row["train_images"])
    by_seed = {key: {seed: [value for _, value in sorted(of)] for seed, of in seeds.items()} for key, seeds in values.items()}
    networks = tuple(dict.fromkeys(network for _, _, network in by_seed))
    against = {network: _against(plan, network, by_seed) for network in networks}
    seconds = _seconds(found)
    entries = [
        Entry(
            cell,
            arm,
            network,
            accuracy(seeds, plan.crossed),
            seconds.get((title, arm), math.nan),
            images[title, arm],
            against[network][title, arm],
            _top_k(rows[title, arm, network], plan.crossed),
            label_robustness(plan, by_seed, title, arm, network),
        )
        for network in networks
        for title, cell in cells.items()
        for arm in plan.study.arms
        if (seeds := by_seed.get((title, arm, network)))
    ]
    done = {cell.number: len({row["seed"] for part in found for row in part.rows if row["cell"] == title}) for title, cell in cells.items()}
    return Table(plan, tuple(entries), tuple(_detected(cells, found)), done, networks)


def _top_k(rows: Sequence[Mapping[str, Any]], crossed: bool) -> TopK | None:
    """The top-k accuracy over the trainings of an arm in a cell on a network."""
    counted = {row["top_k"] for row in rows}
    if len(counted) != 1 or NOT_RECORDED in counted:
        return None
    by_seed: dict[int, list[float]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["seed"], row["training"])):
        by_seed[row["seed"]].append(row["top_k_accuracy"])
    return TopK(counted.pop(), accuracy(by_seed, crossed).value)


def _against(plan: Plan, network: str, found: Mapping[tuple[str, str, str], BySeed]) -> dict[tuple[str, str], dict[str, Comparison]]:
    """Of each arm in each cell by reference; all comparisons to one reference on one network are a family."""
    told: dict[tuple[str, str], dict[str, Comparison]] = defaultdict(dict)
    tolerance = None if plan.study.tolerance is None else plan.study.tolerance / 100
    for reference in plan.references:
        asked = [(cell, arm) for cell, arm, on in found if on == network and arm != reference and (cell, reference, network) in found]
        pairs = [(found[cell, arm, network], found[cell, reference, network]) for cell, arm in asked]
        for place, comparison in zip(asked, comparisons(pairs, tolerance, plan.crossed), strict=True):
            if comparison is not None:
                told[place][reference] = comparison
    return told


def _seconds(parts: Sequence[Part]) -> dict[tuple[str, str], float]:
    """Mean seconds of distillation by cell and arm."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in (row for part in parts for row in part.seconds):
        if row["stage"] == "distill":
            found[row["cell"], row["arm"]].append(row["seconds"])
    return {key: fmean(values) for key, values in found.items()}


def _detected(cells: Mapping[str, Cell], parts: Sequence[Part]) -> Iterable[Detected]:
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in (row for part in parts for row in part.detection):
        groups[row["cell"], row["arm"], row["score"]].append(row)
    ordered = sorted(groups.items(), key=lambda item: (cells[item[0][0]].number, item[0][1] != ""))
    for (title, arm, score), rows in ordered:
        selected = [row for row in rows if row["kept"] >= 0]
        yield Detected(
            cells[title],
            arm,
            score,
            len(rows),
            fmean(row["wrong"] for row in rows),
            fmean(row["samples"] for row in rows),
            _interval([row["auroc"] for row in rows]),
            _interval([row["precision"] for row in rows]),
            _mean([row["auprc"] for row in rows]),
            _mean([1 - row["wrong_kept"] / row["wrong"] for row in selected]),
            _mean([row["kept"] / row["samples"] for row in selected]),
            _mean([row["wrong_kept"] / row["kept"] for row in selected]),
        )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Of those that are known: where no wrong label is among what was measured, nothing can be found."""
    known = [value for value in values if not math.isnan(value)]
    return interval(known) if known else (math.nan, math.inf)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan
