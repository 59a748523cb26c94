"""What a reader who is new to statistics should know before believing the numbers of this page."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.report.comparison import Training, network_title, of
from bilp.report.wording import arm_place, arm_words, count

FEW = 5
"""Trainings below which an interval says little."""
NEAR_CHANCE = 1.5
"""Multiples of the chance level up to which an accuracy is no better than guessing, as far as anybody can see."""


def cautions(rows: Sequence[Training], classes: int) -> list[str]:
    """One sentence for each thing that makes a number weaker than it looks."""
    groups = {}
    for arm in sorted({row.arm for row in rows}, key=arm_place):
        for network in dict.fromkeys(row.network for row in rows):
            if mine := of(rows, arm, network):
                groups[arm, network] = [row.accuracy for row in mine]
    return [*_few(groups), *_guessing(groups, classes), *_same(groups)]


Groups = dict[tuple[str, str], list[float]]


def _few(groups: Groups) -> list[str]:
    least = min((len(values) for values in groups.values()), default=FEW)
    if least >= FEW:
        return []
    trained = count(least, "training")
    if least == 1:
        return [f"One training per set says nothing about how much another one would differ: train {FEW} or more (evaluate.seeds)."]
    return [
        f"{trained} are too few: an interval over so few is very wide, or narrow by luck. Train {FEW} or more (evaluate.seeds) "
        "before concluding anything."
    ]


def _guessing(groups: Groups, classes: int) -> list[str]:
    chance = 1 / classes
    low = [key for key, values in groups.items() if sum(values) / len(values) <= NEAR_CHANCE * chance]
    if not low:
        return []
    return [f"Guessing reaches {100 * chance:.3g}\u00a0%, and {_named(low)} hardly more: nothing was learned there that could be compared."]


def _same(groups: Groups) -> list[str]:
    same = [key for key, values in groups.items() if len(values) > 1 and max(values) - min(values) < 1e-9]
    if not same:
        return []
    return [f"All trainings of {_named(same)} have the same accuracy. That is no certainty: small test sets and guessing give such ties."]


def _named(keys: Sequence[tuple[str, str]]) -> str:
    several = len({network for _, network in keys}) > 1
    names = [arm_words(arm).title + (f" on {network_title(network)}" if several else "") for arm, network in keys]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
