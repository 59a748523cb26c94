"""How many samples of a class the adaptive level can keep away at once, from settings and sizes alone: known before any work.

In a round only the samples of a class whose turn it is are measured, and what is decided on them stands until their next turn
(`bilp.distill.step.reselection.whose_turn`). A run of few rounds with few candidates ends before every sample had a turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bilp.config.reselect import RESELECT_MODES, ReselectConfig
from bilp.pruning.adaptive import TOLERANCE, kept_at_least, whole_samples


@dataclass(frozen=True)
class Reach:
    """Of one class."""

    samples: int
    """That take part in the run."""
    measured: int
    """Of these, how many are measured at the beginning of some round."""
    asked: float
    """Share of the samples that the settings want to keep away: beta. 1 where nothing is dropped, or how much is not known yet."""
    got: int
    """Samples that are away at once, at most, by decisions that drop exact shares; normal thresholds may drop TOLERANCE of all decisions
    (`bilp.pruning.adaptive`) more or fewer. Where nothing is dropped, or how much is not known yet: those that have been measured."""
    every_batch: bool
    """Whether each image step decides about its own batch, or uses what was kept of one."""

    @property
    def share(self) -> float:
        """`got` as a share of the samples; 0 of none."""
        return self.got / self.samples if self.samples else 0.0

    @property
    def short(self) -> bool:
        """Whether that is less than half of what the settings ask for."""
        return not self.every_batch and self.samples > 0 and 2 * self.got < self.asked * self.samples


def turns_of(count: int, most: int | None) -> list[int]:
    """Sizes of the parts of a class of `count` samples that take turns, as `bilp.data.pool.even_chunks` cuts them; one part with None."""
    parts = max(1, min(-(-count // (most or max(count, 1))), count // 2))
    share, rest = divmod(count, parts)
    return [share + (place < rest) for place in range(parts)]


def most_dropped(samples: int, reselect: ReselectConfig) -> int:
    """How many of a class of `samples` the first decision drops at most, whichever thresholds it takes; beta must be a number."""
    size, (beta, _) = turns_of(samples, reselect.candidates_per_class)[0], reselect.shares
    by_floor = size - kept_at_least(size, reselect.minimum_per_class)
    return min(math.floor(beta * size + max(TOLERANCE * size, 1.0)), by_floor)


def reach(samples: int, rounds: int, batch: int, reselect: ReselectConfig) -> Reach:
    """What reselection can do to a class.

    Args:
        samples: of the class, that take part.
        rounds: of the run.
        batch: real samples of the class in an image step.
        reselect: settings of an active adaptive level; beta and low_share may be words.
    """
    turns, mode = turns_of(samples, reselect.candidates_per_class), RESELECT_MODES[reselect.mode]
    measured = sum(turns[:rounds])
    every_batch = reselect.interval == 1 or (reselect.interval > 0 and mode.shrinks)
    if isinstance(reselect.beta, str) or mode.weighs:
        return Reach(samples, measured, 1.0, measured, every_batch)
    beta, floor = reselect.beta, reselect.minimum_per_class
    within = 0
    if reselect.interval:  # a batch of the whole class beside what the round decided, with what earlier decisions owe at most
        size = min(samples, batch)
        within, _ = whole_samples(beta * size, 0.5, size - kept_at_least(size, floor))
    most, owed, away = 0, 0.0, dict[int, int]()
    for number in range(rounds):
        place = number % len(turns)
        size = turns[place]
        away[place], owed = whole_samples(beta * size, owed, size - kept_at_least(size, floor))
        most = max(most, sum(away.values()) + within)
    return Reach(samples, measured, beta, min(most, samples - min(samples, floor)), every_batch)
