"""Section: how well networks learn from each set, and what may be concluded from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from markupsafe import Markup

from bilp.config.arm_entries import UNPRUNED
from bilp.config.baselines import RANDOM_REAL
from bilp.evaluate import Difference
from bilp.evaluate.metrics import TopK, mean_top_k
from bilp.evaluate.robustness import Robustness
from bilp.report.comparison import Training, against_arm, judgment, mean, network_title, of, over_random, percent, points
from bilp.report.downloads import as_data
from bilp.report.figures import Whisker, whiskers
from bilp.report.latex import Line, accuracy_table
from bilp.report.wording import ArmWords, arm_place, arm_words, is_compared
from bilp.text.csv_text import csv_text
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class AccuracyRow:
    """One arm on one network; `compared` is its paired difference to the unpruned arm, `gain` that to random real images under the
    same protocol, and `first` is true once per arm."""

    words: ArmWords
    first: bool
    network: str
    accuracy: Difference
    shown: str
    images: str
    best: str
    compared: Difference | None
    difference: str
    pairs: int
    judgment: str
    gain: Difference | None
    gained: str
    top_k: TopK | None = None
    within: str = ""
    """The top-k accuracy and its interval; empty where it was not recorded."""
    best_within: str = ""


@dataclass(frozen=True)
class Accuracy:
    """The section's content."""

    rows: tuple[AccuracyRow, ...]
    chart: Markup
    caption: str
    csv_uri: str
    latex: str
    experiments: int
    networks: tuple[str, ...]
    across: tuple[tuple[ArmWords, tuple[str, ...]], ...]
    """Each arm with its accuracy on each of the networks."""

    @property
    def compared(self) -> list[AccuracyRow]:
        """Rows that have a paired difference."""
        return [row for row in self.rows if row.compared is not None]

    @property
    def gains(self) -> list[AccuracyRow]:
        """Rows that have a gain over random real images."""
        return [row for row in self.rows if row.gain is not None]

    @property
    def top_k(self) -> str:
        """Heading of the column of top-k accuracies; empty if there is none."""
        return " or ".join(f"Top {k}" for k in dict.fromkeys(row.top_k.k for row in self.rows if row.top_k is not None))

    @property
    def pairing(self) -> str:
        """What the differences are and when one is called clear."""
        unit = "pairs of distillations" if self.experiments > 1 else "pairs of trainings"
        words = f"Difference of trainings that share everything but the set, over n {unit}"
        words += ", with an interval that covers distillations and trainings. " if self.experiments > 1 else ". "
        words += "It is called clear only if its 95\u00a0% interval excludes zero"
        chance = len(self.compared) > 1
        return words + ("; by chance alone that happens to one comparison in twenty." if chance else ".")


@dataclass(frozen=True)
class RobustnessRow:
    """The scores of DD-Ranking for one arm on one network, as text in per cent of their range."""

    words: ArmWords
    network: str
    lrs: str
    ars: str


def robustness_rows(scores: Sequence[Robustness]) -> list[RobustnessRow]:
    """The table of robustness scores, in the order of the arms."""
    ordered = sorted(scores, key=lambda score: arm_place(score.arm))
    return [RobustnessRow(arm_words(s.arm), network_title(s.network), f"{100 * s.lrs:.1f}", f"{100 * s.ars:.1f}") for s in ordered]


def networks(rows: Sequence[Training]) -> list[str]:
    """Networks in the order of their first appearance."""
    return list(dict.fromkeys(row.network for row in rows))


def arms(rows: Sequence[Training]) -> list[str]:
    """Arms that were evaluated, baselines first."""
    return sorted(dict.fromkeys(row.arm for row in rows), key=arm_place)


def accuracy(rows: Sequence[Training], adaptive: bool = True, what: str = "") -> Accuracy | None:
    """The table, its picture and its machine-readable copies; None if nothing was evaluated.

    `adaptive` says whether the method has an adaptive level at all, for the words about arm bilp; `what` was evaluated, for captions.
    """
    if not rows:
        return None
    by_network = {
        network: [_row(rows, arm, network, adaptive) for arm in arms(rows) if of(rows, arm, network)] for network in networks(rows)
    }
    table = [row for group in by_network.values() for row in group]
    several = len(by_network) > 1
    groups = [(network if several else "", [_whisker(row) for row in group]) for network, group in by_network.items()]
    titled = [(network_title(heading) if heading else "", members) for heading, members in groups]
    words = "; ".join(f"{row.words.title} on {row.network} {row.shown}" for row in table)
    chart = whiskers(titled, spoken("accuracy on real test images"), f"Accuracy with 95 % intervals: {words}")
    experiments = len({row.experiment for row in rows})
    return Accuracy(
        rows=tuple(table),
        chart=chart,
        caption=_caption(experiments),
        csv_uri=_csv(rows),
        latex=_latex(table, what, experiments),
        experiments=experiments,
        networks=tuple(network_title(network) for network in by_network),
        across=tuple(_across(rows, arm, list(by_network), adaptive) for arm in arms(rows)),
    )


def _across(rows: Sequence[Training], arm: str, names: Sequence[str], adaptive: bool) -> tuple[ArmWords, tuple[str, ...]]:
    """An arm and its accuracy on each network; a dash where it was not evaluated on one."""
    cells = (percent(mean(found)) if (found := of(rows, arm, network)) else "–" for network in names)
    return arm_words(arm, adaptive), tuple(cells)


def _latex(table: Sequence[AccuracyRow], what: str, experiments: int) -> str:
    other = arm_words(UNPRUNED).title
    differences = [Line(row.words.title, row.network, row.compared, other) for row in table if row.compared is not None]
    random = arm_words(RANDOM_REAL).title
    gains = [Line(row.words.title, row.network, row.gain, random) for row in table if row.gain is not None]
    lead = f"{what}: test" if what else "Test"
    covers = "distillations and trainings" if experiments > 1 else "trainings on the set of one distillation"
    caption = f"{lead} accuracy of networks trained on each set over n trainings, mean and half width of its 95 % interval, which covers "
    caption += f"{covers}."
    if differences:
        caption += " Below the rule, paired differences in percentage points over n pairs."
    if gains:
        caption += spoken(" Last, the gain over as many random real images under the same protocol, over n seeds.")
    return accuracy_table([Line(row.words.title, row.network, row.accuracy) for row in table], [differences, gains], caption)


def _caption(experiments: int) -> str:
    if experiments > 1:
        return (
            f"The bars are 95 % intervals that cover both how {experiments} independent distillations differ and how trainings on a set "
            "do. "
            "Whether two arms differ is better judged by the table of differences, in which what they share cancels."
        )
    return (
        "The bars are 95 % intervals over repeated trainings alone. There is one distillation per arm: "
        "how much another one would differ is not in them (the setting experiments adds more)."
    )


def _row(rows: Sequence[Training], arm: str, network: str, adaptive: bool) -> AccuracyRow:
    chosen = of(rows, arm, network)
    accuracy = mean(chosen)
    difference = against_arm(rows, arm, UNPRUNED, network) if is_compared(arm) else None
    gain, top_k = over_random(rows, arm, network), mean_top_k(chosen)
    return AccuracyRow(
        words=arm_words(arm, adaptive),
        first=network == next(row.network for row in rows if row.arm == arm),
        network=network_title(network),
        accuracy=accuracy,
        shown=percent(accuracy),
        images=", ".join(f"{size:,}" for size in sorted({row.train_images for row in chosen})),
        best=percent(mean(chosen, values=[row.best_accuracy for row in chosen])),
        compared=difference,
        difference=points(difference) if difference else "",
        pairs=difference.n if difference else 0,
        judgment=judgment(difference) if difference else "",
        gain=gain,
        gained=points(gain) if gain else "",
        top_k=top_k,
        within="" if top_k is None else percent(top_k.share),
        best_within="" if top_k is None else percent(mean(chosen, values=[row.best_top_k_accuracy for row in chosen])),
    )


def _whisker(row: AccuracyRow) -> Whisker:
    half = row.accuracy.half_width95
    return Whisker(row.words.title, row.accuracy.mean, half if math.isfinite(half) else None, row.words.css)


def _csv(rows: Sequence[Training]) -> str:
    names = [field.name for field in fields(Training)]
    random = {(row.network, row.seed): row.accuracy for row in rows if row.arm == RANDOM_REAL}
    gains = [row.accuracy - random[row.network, row.seed] if (row.network, row.seed) in random else "" for row in rows]
    cells = ([*(_cell(getattr(row, name)) for name in names), gain] for row, gain in zip(rows, gains, strict=True))
    return as_data(csv_text([*names, "over_random"], cells), "text/csv")


def _cell(value: str | float) -> str | float:
    """A value in a CSV file, where nothing stands for what was not recorded."""
    return "" if isinstance(value, float) and math.isnan(value) else value
