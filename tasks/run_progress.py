"""How far the run that somebody started is: which stage of how many, how much of it is done, and how long the rest of it may take.

The flows say which stages there are, units and steps of tasks say what is done of the present one (`tasks.progress_bars`). A pipeline
inside of a sweep is a stage of that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tasks.estimate import Left
from tasks.polling import interval
from tasks.status_lines import remaining

SHORTEST = 5.0  # seconds between two messages to the server, each of which costs a request; more in what takes long

Tell = Callable[[float, str], None]
"""Takes per cent and words."""


class RunProgress:
    """The progress of one flow run through its stages."""

    def __init__(self, stages: Sequence[str], tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self.stages, self.tell, self.clock = list(stages), tell, clock
        self.number = -1
        self.done, self.total, self.inside, self.part = 0, 1, 0.0, (0, 1)
        self.began = self.stage_began = self.next = clock()
        self._lock = threading.RLock()

    def stage(self, units: int = 1) -> None:
        """The next stage begins, with so many units of work."""
        with self._lock:
            self.number += 1
            self.units(units)
            self._say()

    def units(self, total: int) -> None:
        """The present stage turns out to have so many units of work still to do."""
        with self._lock:
            self.done, self.total, self.inside, self.part = 0, max(total, 1), 0.0, (0, 1)
            self.stage_began = self.clock()

    def unit_done(self) -> None:
        """A unit is finished."""
        with self._lock:
            self.done, self.inside, self.part = min(self.done + 1, self.total), 0.0, (0, 1)
            self._say()

    def step(self, share: float) -> None:
        """So much of the present part of the present unit is done."""
        with self._lock:
            number, parts = self.part
            self.inside = min(max(self.inside, (number + share) / parts), 1.0)
            self._say()

    def begin_part(self, number: int, parts: int) -> None:
        """Of the parts that the present unit consists of, this one (from 0) begins."""
        with self._lock:
            self.part = number, parts

    @property
    def of_stage(self) -> float:
        """The share of the present stage that is done."""
        return min((self.done + self.inside) / self.total, 1.0)

    @property
    def percent(self) -> float:
        """Per cent of all stages."""
        return 100 * min((max(self.number, 0) + self.of_stage) / max(len(self.stages), 1), 1.0)

    def words(self) -> str:
        """'stage 4 of 6, distill 2 runs: 35 %, about 12 min left'."""
        name = self.stages[min(max(self.number, 0), len(self.stages) - 1)]
        text = f"stage {min(self.number + 1, len(self.stages))} of {len(self.stages)}, {name}: {100 * self.of_stage:.0f} %"
        left = self._left()
        return text if left is None else f"{text}, {remaining(left)} of this stage"

    def finish(self, words: str) -> None:
        """All is done."""
        self.tell(100.0, words)

    def _left(self) -> Left | None:
        """The time that the rest of the stage takes at the pace so far; None before there was any."""
        elapsed, share = self.clock() - self.stage_began, self.of_stage
        return Left(elapsed / share * (1 - share), whole=True) if share > 0 and elapsed > 0 else None

    def _say(self) -> None:
        now = self.clock()
        if now >= self.next:
            self.tell(self.percent, self.words())
            self.next = now + interval(now - self.began, SHORTEST)


_current: RunProgress | None = None


@contextmanager
def following(stages: Sequence[str], tell: Tell) -> Iterator[RunProgress]:
    """In the block a run goes through these stages. A run inside of another tells that one how far it is."""
    global _current
    outer = _current
    _current = RunProgress(stages, tell if outer is None else lambda percent, words: outer.step(percent / 100))
    try:
        yield _current
    except Exception:
        if outer is None:
            tell(_current.percent, f"ended in {_current.words()}")
        raise
    finally:
        _current = outer


def nobody() -> bool:
    """Whether no run is followed yet."""
    return _current is None


def stage(units: int = 1) -> None:
    """The next stage begins."""
    if _current is not None:
        _current.stage(units)


def units(total: int) -> None:
    """The present stage has so many units of work to do."""
    if _current is not None:
        _current.units(total)


def unit_done() -> None:
    """A unit of the present stage is finished."""
    if _current is not None:
        _current.unit_done()


def step(share: float) -> None:
    """So much of the present unit is done."""
    if _current is not None:
        _current.step(share)


def begin_part(number: int, parts: int) -> None:
    """A part of the present unit begins, such as a round."""
    if _current is not None:
        _current.begin_part(number, parts)
