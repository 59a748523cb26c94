"""Iterations as a round has them: many in one call, of which the first ones, that warm up and record graphs, do not count."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from benchmarks.gpu.device import Machine
from benchmarks.gpu.iterations import advance
from bilp.distill.loops.captured import READ_EVERY
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState

TIMED = 48
"""Image steps that are timed unless it is said otherwise, three times as many as are read at once."""
Seen = TypeVar("Seen")


def at_both_ends(setting: Setting, state: DistillState, first: int, more: int, see: Callable[[], Seen]) -> tuple[Seen, Seen]:
    """What is seen after `first` iterations and after `more` of them. The call does one more, for which something may be made ahead."""
    seen: dict[int, Seen] = {}

    def look(done: int, total: int, note: str = "") -> None:
        number, within = divmod(done * (first + more + 1), total)
        if not within:  # some methods tell of image steps
            seen[number] = see()

    advance(setting, state, first + more + 1, look)
    return seen[first], seen[first + more]


def milliseconds_each(machine: Machine, setting: Setting, state: DistillState, steps: int = TIMED) -> float:
    """Of an iteration, while the state is advanced in one call, by as many image steps as are read at once and then by `steps`.

    The clock is looked at where losses are read from the device, which waits for it.
    """
    first, more = (max(1, -(-machine.pick(1, number) // setting.schedule.outer_loops)) for number in (READ_EVERY, steps))
    start, end = at_both_ends(setting, state, first, more, time.perf_counter)
    return (end - start) * 1e3 / more
