"""What is told before a run about how much of each class its adaptive level can keep away, and the warning where that is little."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bilp.config.arms import PlannedRun
from bilp.config.reselect import RESELECT_MODES, ReselectConfig
from bilp.pruning.reach import Reach, reach, turns_of
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class ReachTold:
    """Lines for a reader; without arms that prune adaptively there are none."""

    sentences: tuple[str, ...]
    """One for each number of samples that take part, with the arms that have these."""
    warnings: tuple[str, ...]
    """One for each of these where a class's share is less than half of what is asked for."""


def told_reach(runs: Iterable[PlannedRun], samples: Callable[[PlannedRun], npt.NDArray[np.integer]]) -> ReachTold:
    """What is told of runs of which `samples` says how many of each class, `[classes]`, take part."""
    arms: dict[tuple[str, str], list[str]] = {}
    for run in {run.arm: run for run in runs if run.reselect.active}.values():
        sizes, counts = np.unique(samples(run), return_counts=True)
        classes = [reach(int(size), run.distill.rounds, run.distill.batch_real, run.reselect) for size in sizes]
        told = _sentence(classes, run), _warning(classes, counts.tolist(), run)
        arms.setdefault(told, []).append(run.arm)
    sentences = [f"adaptive pruning ({', '.join(names)}): {sentence}" for (sentence, _), names in arms.items()]
    warnings = [f"adaptive pruning ({', '.join(names)}) {warning}" for (_, warning), names in arms.items() if warning]
    return ReachTold(tuple(sentences), tuple(warnings))


def _sentence(classes: Sequence[Reach], run: PlannedRun) -> str:
    least = min(classes, key=lambda one: (one.share, -one.samples))
    which = "each class" if len(classes) == 1 else "the class that it reaches least"
    rounds, reselect = run.distill.rounds, run.reselect
    measured = "all are" if least.measured == least.samples else f"{least.measured:,} are"
    sentence = (
        f"of {which}, with {least.samples:,} images, {measured} measured in {rounds} round{'' if rounds == 1 else 's'}, "
        f"and at most {least.got:,} ({_percent(least.share)}) {_then(reselect)}"
    )
    if least.every_batch:
        sentence += "; every image step decides about its batch besides"
    if reselect.before_initialization:
        first = turns_of(least.samples, reselect.candidates_per_class)[0]
        sentence += f"; initial images are drawn after the first {first:,} were decided on"
    return spoken(sentence)


def _then(reselect: ReselectConfig) -> str:
    """What happens to so many."""
    if RESELECT_MODES[reselect.mode].weighs:
        return "get a weight of their own"
    if isinstance(reselect.beta, str):
        return f"are decided on, of which reselect.beta = {reselect.beta} is a share"
    return f"can be away at once, where reselect.beta = {reselect.beta:g} asks for {_percent(reselect.beta)}"


def _unknown(reselect: ReselectConfig) -> bool:
    return isinstance(reselect.beta, str) or RESELECT_MODES[reselect.mode].weighs


def _warning(classes: Sequence[Reach], counts: Sequence[int], run: PlannedRun) -> str:
    """What the classes that are reached too little have to do with the settings, and which to change; empty if there are none."""
    short = [one for one in classes if one.short]
    if not short:
        return ""
    reselect, rounds = run.reselect, run.distill.rounds
    number = sum(count for one, count in zip(classes, counts, strict=True) if one.short)
    where = "" if number == sum(counts) else f" in {number:,} of {sum(counts):,} classes"
    least, largest = min(short, key=lambda one: one.share), max(short, key=lambda one: one.samples)
    does = "reaches" if _unknown(reselect) else "keeps away"
    asked = "half of the class" if _unknown(reselect) else f"half of the {_percent(least.asked)} that reselect.beta asks for"
    return f"{does} at most {_percent(least.share)} of a class{where}, less than {asked}: {_change(largest, reselect, rounds)}"


def _change(largest: Reach, reselect: ReselectConfig, rounds: int) -> str:
    """The setting that is in the way."""
    if largest.measured < largest.samples:
        needed, now = -(-largest.samples // rounds), reselect.candidates_per_class
        return f"set reselect.candidates_per_class to {needed} (it is {now}), so that {rounds} rounds measure every sample"
    if reselect.minimum_per_class > 2:
        return f"lower reselect.minimum_per_class ({reselect.minimum_per_class}), or keep more samples of the class"
    return "keep more samples of the class, or set beta to 0"


def _percent(value: float) -> str:
    """'30 %', '0.86 %'."""
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"
