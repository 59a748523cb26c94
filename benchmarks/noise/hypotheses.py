"""python benchmarks/noise/hypotheses.py CIFAR10_STUDY DIGITS_STUDY [ONE_IMAGE_STUDY]

Judges the hypotheses of `README.md` by finished studies, folders `studies/KEY` of a storage, and prints them as a Markdown table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import pandas as pd

from bilp.evaluate.uncertainty import Estimate, over, probability_below
from bilp.studies.statistics import BySeed, Comparison, comparisons, holm

RIGHT, FIFTH, TWO_FIFTHS, CYCLIC = "right", "symmetric 20 %", "symmetric 40 %", "cyclic 40 %"
ONE_IMAGE_METHODS = ("method dm", "method dc")
LEVEL = 0.05
TOLERANCE = 0.02
"""Points of accuracy within which two arms are equal, as a fraction."""

Means = Mapping[int, float]
"""Accuracy of an arm in a cell by seed, mean over its trainings."""


@dataclass
class Study:
    """The tables of a study."""

    accuracies: dict[tuple[str, str], dict[int, list[float]]]
    """Accuracies of the trainings by cell, arm and seed."""
    detection: pd.DataFrame
    _families: dict[str, dict[tuple[str, str], Comparison]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Study:
        """Of a folder that holds `rows.parquet` and `detection.parquet`."""
        found: dict[tuple[str, str], dict[int, list[float]]] = {}
        rows = pd.read_parquet(folder / "rows.parquet").sort_values(["seed", "training"])
        for row in rows.itertuples():
            found.setdefault((row.cell, row.arm), {}).setdefault(int(row.seed), []).append(float(row.accuracy))
        return cls(found, pd.read_parquet(folder / "detection.parquet"))

    def compared(self, cell: str, arm: str, reference: str) -> Comparison:
        """An arm with a reference, paired by seed; p values adjusted among all arms in all cells."""
        if reference not in self._families:
            asked = [key for key in self.accuracies if key[1] != reference and (key[0], reference) in self.accuracies]
            pairs: list[tuple[BySeed, BySeed]] = [(self.accuracies[key], self.accuracies[key[0], reference]) for key in asked]
            told = comparisons(pairs, TOLERANCE)
            self._families[reference] = {key: each for key, each in zip(asked, told, strict=True) if each is not None}
        return self._families[reference][cell, arm]

    def gain(self, cell: str, arm: str, reference: str = "unpruned") -> Means:
        """By seed."""
        ours, theirs = self.accuracies[cell, arm], self.accuracies[cell, reference]
        return {seed: fmean(ours[seed]) - fmean(theirs[seed]) for seed in ours if seed in theirs}

    def detected(self, cell: str, score: str, figure: str) -> float:
        """A figure of a score that arms share, mean over the seeds."""
        rows = self.detection[(self.detection["cell"] == cell) & (self.detection["arm"] == "") & (self.detection["score"] == score)]
        return float(rows[figure].mean())

    @property
    def scores(self) -> list[str]:
        """That arms share."""
        return sorted(self.detection[self.detection["arm"] == ""]["score"].unique())


@dataclass(frozen=True)
class Verdict:
    """What a hypothesis came to."""

    number: str
    words: str
    measured: str
    confirmed: bool


def less(one: Means, other: Means, factor: float = 1.0) -> Estimate:
    """One gain less a multiple of another, over the seeds that both have."""
    return over([one[seed] - factor * other[seed] for seed in one if seed in other])


def above_zero(found: Estimate) -> float:
    """One-sided p of a paired t test."""
    return probability_below(-found.mean, found.error, found.freedom)


def points(mean: float, half_width: float) -> str:
    """'+4.8 ± 1.2'."""
    return f"{100 * mean:+.1f} ± {100 * half_width:.1f}"


def told(found: Comparison) -> str:
    """'+4.8 ± 1.2 (n = 3, p = 0.012)'."""
    return f"{points(found.value.mean, found.value.half_width95)} (n = {found.seeds}, p = {found.adjusted:.2g})"


def shown(found: Estimate) -> str:
    """'+4.8 ± 1.2 (one-sided p = 0.006)'."""
    return f"{points(found.mean, found.half_width95)} (one-sided p = {above_zero(found):.2g})"


def higher(found: Comparison) -> bool:
    """Whether an arm is above its reference beyond chance."""
    return found.value.mean > 0 and found.adjusted < LEVEL


def lower(found: Comparison) -> bool:
    """Whether an arm is below its reference beyond chance."""
    return found.value.mean < 0 and found.adjusted < LEVEL


def of_accuracies(name: str, study: Study) -> Iterator[Verdict]:
    """Hypotheses 1 to 9, by one study."""
    static = {cell: study.compared(cell, "static", "unpruned") for cell in (RIGHT, FIFTH, TWO_FIFTHS, CYCLIC)}
    gain = {cell: study.gain(cell, "static") for cell in static}
    yield Verdict(f"1, {name}", "static gains at symmetric 40 %", told(static[TWO_FIFTHS]), higher(static[TWO_FIFTHS]))
    more = less(gain[TWO_FIFTHS], gain[FIFTH])
    both = higher(static[FIFTH]) and above_zero(more) < LEVEL
    yield Verdict(f"2, {name}", "it gains at symmetric 20 %, and less", f"{told(static[FIFTH])}; 40 % less 20 %: {shown(more)}", both)
    yield Verdict(f"3, {name}", "with right labels it is within 2 points", told(static[RIGHT]), static[RIGHT].equivalent is True)
    fewer = study.compared(TWO_FIFTHS, "random_pruning", "static")
    yield Verdict(f"4, {name}", "random at equal keep is below static at symmetric 40 %", told(fewer), lower(fewer))
    cyclic = less(gain[TWO_FIFTHS], gain[CYCLIC])
    measured = f"cyclic {told(static[CYCLIC])}; symmetric less cyclic: {shown(cyclic)}"
    yield Verdict(f"5, {name}", "at cyclic 40 % it gains less", measured, above_zero(cyclic) < LEVEL)
    upper, beside = (study.compared(TWO_FIFTHS, "upper_tail", reference) for reference in ("unpruned", "static"))
    measured = f"{told(upper)}; to static {told(beside)}"
    yield Verdict(f"6, {name}", "the upper tail alone gains at symmetric 40 %, less than static", measured, higher(upper) and lower(beside))
    added = {cell: study.compared(cell, "bilp", "static") for cell in static}
    measured = "; ".join(f"{cell} {told(found)}" for cell, found in added.items())
    yield Verdict(
        f"7, {name}", "both levels are within 2 points of static everywhere", measured, all(each.equivalent for each in added.values())
    )
    half = less(gain[TWO_FIFTHS], study.gain(TWO_FIFTHS, "oracle"), 0.5)
    measured = f"oracle {told(study.compared(TWO_FIFTHS, 'oracle', 'unpruned'))}; static less half of it: {shown(half)}"
    yield Verdict(f"8, {name}", "static reaches half of what true labels gain at symmetric 40 %", measured, above_zero(half) < LEVEL)
    found = {cell: study.compared(cell, "auto", "static") for cell in static}
    measured = "; ".join(f"{cell} {told(each)}" for cell, each in found.items())
    yield Verdict(f"9, {name}", "keep auto is nowhere below static", measured, not any(lower(each) for each in found.values()))


def of_detection(name: str, study: Study, cell: str, score: str, least: tuple[float, float]) -> Iterator[Verdict]:
    """Hypothesis 10, by one study."""
    auroc, precision = (study.detected(cell, score, figure) for figure in ("auroc", "precision"))
    measured = f"AUROC {auroc:.3f}, precision {precision:.3f}"
    wanted = f"{score} at {cell}: AUROC of at least {least[0]}, precision at the number of errors of at least {least[1]}"
    yield Verdict(f"10, {name}", wanted, measured, auroc >= least[0] and precision >= least[1])
    pairs = {each: (study.detected(CYCLIC, each, "auroc"), study.detected(TWO_FIFTHS, each, "auroc")) for each in study.scores}
    measured = "; ".join(f"{each} {cyclic:.3f} < {symmetric:.3f}" for each, (cyclic, symmetric) in pairs.items())
    yield Verdict(f"10, {name}", "every criterion finds less at cyclic 40 %", measured, all(one < other for one, other in pairs.values()))


def of_tails(study: Study) -> Iterator[Verdict]:
    """Hypothesis 11, by the study of digits."""
    upper = study.gain(TWO_FIFTHS, "upper_tail")
    found = [less(upper, study.gain(TWO_FIFTHS, other)) for other in ("both_tails", "by_chance")]
    ps = holm([2 * min(above_zero(each), 1 - above_zero(each)) for each in found])
    measured = "; ".join(
        f"to {other} {points(each.mean, each.half_width95)} (p = {p:.2g})"
        for other, each, p in zip(("both tails", "chance"), found, ps, strict=True)
    )
    confirmed = all(each.mean > 0 and p < LEVEL for each, p in zip(found, ps, strict=True))
    yield Verdict("11, digits", "the upper tail gains more than both tails and than chance at symmetric 40 %", measured, confirmed)


def of_one_image(study: Study) -> Iterator[Verdict]:
    """Hypotheses 12 to 15, by the study of one image per class, for each method."""
    for method in ONE_IMAGE_METHODS:
        name = method.removeprefix("method ").upper()
        right, noisy = (f"{labels}, {method}" for labels in (RIGHT, TWO_FIFTHS))
        gain = study.compared(noisy, "static", "unpruned")
        yield Verdict(f"12, {name}", "static gains at symmetric 40 %", told(gain), higher(gain))
        fewer = study.compared(noisy, "random_pruning", "static")
        yield Verdict(f"13, {name}", "random at equal keep is below static at symmetric 40 %", told(fewer), lower(fewer))
        gain = study.compared(right, "static", "unpruned")
        yield Verdict(f"14, {name}", "static gains with right labels, too", told(gain), higher(gain))
        added = {cell: study.compared(cell, "bilp", "static") for cell in (right, noisy)}
        measured = "; ".join(f"{cell} {told(found)}" for cell, found in added.items())
        same = all(found.equivalent for found in added.values())
        yield Verdict(f"15, {name}", "both levels are within 2 points of static", measured, same)


def main(arguments: list[str]) -> int:
    """The exit status: 2 unless two or three folders of studies were named."""
    if len(arguments) not in (2, 3):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    cifar, digits, *one_image = (Study.read(Path(folder)) for folder in arguments)
    verdicts = [
        *of_accuracies("CIFAR-10", cifar),
        *of_detection("CIFAR-10", cifar, TWO_FIFTHS, "loss_converge", (0.9, 0.75)),
        *of_accuracies("digits", digits),
        *of_detection("digits", digits, FIFTH, "loss_init", (0.95, 0.8)),
        *of_tails(digits),
        *(verdict for study in one_image for verdict in of_one_image(study)),
    ]
    print("| hypothesis | what was expected | measured, points of accuracy | confirmed |\n|---|---|---|---|")
    for verdict in sorted(verdicts, key=lambda each: each.confirmed):  # those that fail are named first
        print(f"| {verdict.number} | {verdict.words} | {verdict.measured} | {'yes' if verdict.confirmed else '**no**'} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
