"""python -m benchmarks.methods.expectations [--without METHOD] STUDY...

Judges what was expected of a study of all methods, a folder `studies/KEY` of a storage, or of several studies of different methods, and
prints what came out as Markdown: the expectations, and each method's gain by each level. A study with wrong labels is `methods`, judged
by `README.md`; one with right labels alone is `cifar10.yaml`, judged by `cifar10.md`.
"""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd

from bilp.config import METHODS
from bilp.config.methods import optimizing
from bilp.evaluate.uncertainty import Estimate, over, p_value, probability_below
from bilp.studies.statistics import LEVEL, equivalent, holm

RIGHT, WRONG = "right", "20 % wrong"
REAL, UNPRUNED, STATIC, ADAPTIVE, SIGNED, BOTH = "real", "unpruned", "static", "adaptive", "signed", "bilp"
LEVELS = {STATIC: "static", ADAPTIVE: "adaptive", SIGNED: "signed", BOTH: "both levels"}
TOLERANCE = 0.03
"""Points of accuracy within which two arms are equal, as a fraction."""
EFFECTS = "ite"
"""The score of the causal effect, as tables of what was detected call it."""
FEWEST_SEEDS = 3

BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Tables:
    """What a study told: means of the trainings, and the AUROC of the effects within the candidates."""

    accuracies: Mapping[tuple[str, str, str], BySeed]
    """By labels, method and arm."""
    auroc: Mapping[tuple[str, str], BySeed]
    """By labels and method, of arm adaptive."""

    @classmethod
    def of(cls, folders: Sequence[Path], without: Sequence[str] = ()) -> Tables:
        """Of several studies, none of whose methods is in another, but for the methods that are left out."""
        each = [cls.read(folder) for folder in folders]
        accuracies = [(spot, seeds) for told in each for spot, seeds in told.accuracies.items() if spot[1] not in without]
        auroc = [(spot, seeds) for told in each for spot, seeds in told.auroc.items() if spot[1] not in without]
        twice = sorted({spot[1] for spot, count in Counter(spot for spot, _ in accuracies).items() if count > 1})
        if twice:
            raise ValueError(f"several studies have {', '.join(twice)}: name one of them")
        return cls(dict(accuracies), dict(auroc))

    @classmethod
    def read(cls, folder: Path) -> Tables:
        """Of a folder with `rows.parquet` and `detection.parquet`."""
        rows, found = pd.read_parquet(folder / "rows.parquet"), pd.read_parquet(folder / "detection.parquet")
        means = rows.groupby(["cell", "arm", "seed"])["accuracy"].mean()
        accuracies: dict[tuple[str, str, str], dict[int, float]] = {}
        for (cell, arm, seed), value in means.items():
            accuracies.setdefault((*_parts(cell), arm), {})[int(seed)] = float(value)
        auroc: dict[tuple[str, str], dict[int, float]] = {}
        told = found[(found["arm"] == ADAPTIVE) & (found["score"] == EFFECTS)]
        for row in told.itertuples():
            if not math.isnan(row.auroc):
                auroc.setdefault(_parts(row.cell), {})[int(row.seed)] = float(row.auroc)
        return cls(accuracies, auroc)

    @property
    def labels(self) -> list[str]:
        """Those that the study has, right ones first."""
        return [labels for labels in (RIGHT, WRONG) if any(known == labels for known, _, _ in self.accuracies)]

    def methods(self, arm: str) -> list[str]:
        """Those that have an arm, in the order of the registry."""
        there = {method for _, method, known in self.accuracies if known == arm}
        return [method for method in METHODS if method in there]

    def gain(self, labels: str, method: str, arm: str, reference: str = UNPRUNED) -> BySeed:
        """Of an arm over another, by seed."""
        ours, theirs = self.accuracies[labels, method, arm], self.accuracies[labels, method, reference]
        return {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs}

    def mean_gain(self, labels: str, arm: str, reference: str = UNPRUNED, among: Sequence[str] | None = None) -> BySeed:
        """The mean over methods, for the seeds that all of them have."""
        return _mean([self.gain(labels, method, arm, reference) for method in (self.methods(arm) if among is None else among)])


def _parts(cell: str) -> tuple[str, str]:
    labels, _, method = cell.partition(", ")
    return labels, method


def _mean(values: Sequence[BySeed]) -> BySeed:
    seeds = set.intersection(*(set(each) for each in values))
    return {seed: fmean(each[seed] for each in values) for seed in sorted(seeds)}


@dataclass(frozen=True)
class Expectation:
    """One of the README's: what is measured, and whether it is to be above zero or within the tolerance."""

    number: int
    words: str
    measured: BySeed
    equal: bool = False

    @property
    def value(self) -> Estimate:
        """Over the seeds."""
        return over(list(self.measured.values()))


def expectations(told: Tables) -> list[Expectation]:
    """All of those of the study that this is."""
    return _with_wrong_labels(told) if WRONG in told.labels else _beside_real_images(told)


def _beside_real_images(told: Tables) -> list[Expectation]:
    """Those of `cifar10.md`."""
    arms = {UNPRUNED: "unpruned", STATIC: "static", BOTH: "both levels"}
    return [
        Expectation(1, "static is within 3 points of unpruned", told.mean_gain(RIGHT, STATIC), equal=True),
        Expectation(2, "both levels are within 3 points of unpruned", told.mean_gain(RIGHT, BOTH), equal=True),
        *(
            Expectation(number, f"{words} is above random real images", told.mean_gain(RIGHT, arm, REAL))
            for number, (arm, words) in enumerate(arms.items(), 3)
        ),
    ]


def _with_wrong_labels(told: Tables) -> list[Expectation]:
    """Those of `README.md`."""
    chosen = [method for method in told.methods(STATIC) if method not in optimizing()]
    moved = [method for method in told.methods(STATIC) if method in optimizing()]
    by_chosen, by_moved = (told.mean_gain(WRONG, STATIC, among=among) for among in (chosen, moved))
    auroc = _mean([told.auroc[WRONG, method] for method in told.methods(ADAPTIVE)])
    return [
        Expectation(1, "static gains with wrong labels", told.mean_gain(WRONG, STATIC)),
        Expectation(2, "static is within 3 points with right labels", told.mean_gain(RIGHT, STATIC), equal=True),
        Expectation(3, "adaptive gains with wrong labels", told.mean_gain(WRONG, ADAPTIVE)),
        Expectation(4, "adaptive is within 3 points with right labels", told.mean_gain(RIGHT, ADAPTIVE), equal=True),
        Expectation(5, "both levels gain with wrong labels", told.mean_gain(WRONG, BOTH)),
        Expectation(6, "both levels are within 3 points of static with wrong labels", told.mean_gain(WRONG, BOTH, STATIC), equal=True),
        Expectation(7, "signed is within 3 points of adaptive with wrong labels", told.mean_gain(WRONG, SIGNED, ADAPTIVE), equal=True),
        Expectation(8, "AUROC of effects, less one half, with wrong labels", {seed: value - 0.5 for seed, value in auroc.items()}),
        Expectation(
            9,
            "by static, methods that optimize gain more than those that choose crops, with wrong labels",
            {seed: by_moved[seed] - by_chosen[seed] for seed in by_moved if seed in by_chosen},
        ),
    ]


def judged(found: Sequence[Expectation]) -> Iterator[tuple[Expectation, float, bool]]:
    """Each with its p value, after Holm's correction among those that are to be above zero, and whether it is confirmed."""
    above = holm([math.nan if each.equal else probability_below(-each.value.mean, each.value.error, each.value.freedom) for each in found])
    for each, p in zip(found, above, strict=True):
        if len(each.measured) < FEWEST_SEEDS:
            yield each, math.nan, False
        elif each.equal:
            value = each.value
            within = probability_below(abs(value.mean) - TOLERANCE, value.error, value.freedom)
            yield each, within, equivalent(value, TOLERANCE)
        else:
            yield each, p, p < LEVEL


def gains(told: Tables, labels: str, arm: str, reference: str = UNPRUNED) -> dict[str, str]:
    """'+4.8 ± 1.2 *' by method: two-sided paired t tests with Holm's correction among these methods."""
    methods = told.methods(arm)
    values = [over(list(told.gain(labels, method, arm, reference).values())) for method in methods]
    adjusted = holm([p_value(value) for value in values])
    return {method: _marked(value, p) for method, value, p in zip(methods, values, adjusted, strict=True)}


def _marked(value: Estimate, p: float) -> str:
    mark = " \\*" if p < LEVEL else " ≈" if equivalent(value, TOLERANCE) else ""
    return f"{points(value)}{mark}"


def points(value: Estimate) -> str:
    """'+4.8 ± 1.2', of a single seed '+4.8'."""
    return f"{100 * value.mean:+.1f}{_interval(value)}"


def _interval(value: Estimate) -> str:
    return "" if math.isinf(value.half_width95) else f" ± {100 * value.half_width95:.1f}"


def table(told: Tables, labels: str) -> Iterator[str]:
    """Each method's accuracy unpruned, and its gains, as rows of Markdown: columns are the levels that the study has."""
    levels = {arm: title for arm, title in LEVELS.items() if told.methods(arm)}
    columns = {title: gains(told, labels, arm) for arm, title in levels.items()} | {"both less static": gains(told, labels, BOTH, STATIC)}
    if WRONG not in told.labels:
        columns = {"unpruned less real": gains(told, labels, UNPRUNED, REAL)} | columns
    if labels == WRONG:
        columns["AUROC of effects"] = {method: f"{fmean(there.values()):.2f}" for (of, method), there in told.auroc.items() if of == WRONG}
    yield f"| method | seeds | unpruned | {' | '.join(columns)} |"
    yield "|---" * (3 + len(columns)) + "|"
    for method in told.methods(UNPRUNED):
        plain = over(list(told.accuracies[labels, method, UNPRUNED].values()))
        cells = [values.get(method, "") for values in columns.values()]
        seeds = len(told.accuracies[labels, method, UNPRUNED])
        yield f"| `{method}` | {seeds} | {100 * plain.mean:.1f}{_interval(plain)} | {' | '.join(cells)} |"


def lines(told: Tables) -> Iterator[str]:
    """All of what is printed."""
    yield "| | expected | measured, points | seeds | p | confirmed |"
    yield "|---|---|---|---|---|---|"
    order: Callable[[tuple[Expectation, float, bool]], bool] = lambda row: row[2]  # noqa: E731
    for each, p, confirmed in sorted(judged(expectations(told)), key=order):  # those that fail are named first
        verdict = "yes" if confirmed else "**no**"
        yield f"| {each.number} | {each.words} | {points(each.value)} | {len(each.measured)} | {p:.2g} | {verdict} |"
    for labels in told.labels:
        yield ""
        yield f"Labels: {labels}"
        yield ""
        yield from table(told, labels)


def main(arguments: Sequence[str]) -> int:
    """The exit status. Exits with 2 unless folders of studies were named."""
    parser = ArgumentParser(prog="python -m benchmarks.methods.expectations", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--without", action="append", default=[], metavar="METHOD", help="leave a method out")
    parser.add_argument("studies", nargs="+", type=Path, metavar="STUDY", help="folder studies/KEY of a storage")
    given = parser.parse_args(arguments)
    try:
        told = Tables.of(given.studies, given.without)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for line in lines(told):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
