"""How long a whole command will still take: from the steps that were done in it and those that are planned, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

Clock = Callable[[], float]

LEAST_DONE = 0.02
"""Part of a step below which nobody can tell how long it takes."""


@dataclass(frozen=True)
class Planned:
    """So many steps of a kind in a stage of the pipeline."""

    stage: str
    kind: str
    """Empty for what takes no time worth speaking of."""
    count: int = 1


@dataclass(frozen=True)
class Left:
    """Seconds that remain; `whole` is false if there are steps of which none was done yet, so that it takes longer."""

    seconds: float
    whole: bool


@dataclass
class _Running:
    """A step that began at some time: how much of it was there when it first told and when it last did, and when that was."""

    began: float
    first: tuple[float, float] | None = None
    last: tuple[float, float] = (0.0, 0.0)

    def advance(self, now: float, part: float) -> None:
        self.first = self.first or (now, part)
        self.last = (now, part)

    @property
    def part(self) -> float:
        return self.last[1]

    @property
    def amount(self) -> float:
        """How much of it was done here: what it first told is taken for done here as far as the speed since then explains it."""
        if self.first is None:
            return 0.0
        (first_at, first), (last_at, last) = self.first, self.last
        if last_at <= first_at or last <= first:
            return last if last >= 1.0 else 0.0
        explained = (last - first) / (last_at - first_at) * (first_at - self.began)
        return last - first + min(first, explained)


@dataclass
class Pace:
    """How many steps of a kind remain, and how fast those that were done here were done, side by side or not."""

    remaining: float
    amount: float = 0.0
    seconds: float = 0.0
    since: float = 0.0
    running: dict[Hashable, _Running] = field(default_factory=dict)

    def begin(self, step: Hashable, now: float) -> None:
        """A step begins."""
        if not self.running:
            self.since = now
        self.running[step] = _Running(now)

    def advance(self, step: Hashable, now: float, part: float) -> None:
        """So much of it, from 0 to 1, is there."""
        self.running[step].advance(now, part)

    def end(self, step: Hashable, now: float, worked: bool) -> None:
        """It is done; `worked` says whether it was done here, and not there already."""
        running = self.running.pop(step)
        self.remaining -= 1
        if worked:
            running.last = (now, 1.0)
            self.amount += running.amount if running.first else 1.0
        if not self.running and worked:
            self.seconds += now - self.since

    def left(self, now: float) -> float | None:
        """The seconds that the rest takes; None if nobody knows."""
        rest = self.remaining - sum(running.part for running in self.running.values())
        if rest <= 0:
            return 0.0
        amount = self.amount + sum(running.amount for running in self.running.values())
        seconds = self.seconds + (now - self.since if self.running else 0.0)
        return seconds / amount * rest if amount >= LEAST_DONE else None


class Estimate:
    """The stages that are planned, that of the step which began last, and the time that remains.

    This may be an earlier one than before: a method may ask for the teacher, which is of evaluation, before it distills.
    """

    def __init__(self, plan: Sequence[Planned], clock: Clock) -> None:
        """Nothing is done yet."""
        self.clock = clock
        self.stages = list(dict.fromkeys(planned.stage for planned in plan))
        self.reached = 0
        self.paces: dict[str, Pace] = {}
        for planned in plan:
            if planned.kind:
                self.paces.setdefault(planned.kind, Pace(0.0)).remaining += planned.count

    def begin(self, step: Hashable, stage: str, kind: str) -> None:
        """A step of a stage begins."""
        if stage in self.stages:
            self.reached = self.stages.index(stage) + 1
        if kind in self.paces:
            self.paces[kind].begin(step, self.clock())

    def advance(self, step: Hashable, kind: str, part: float) -> None:
        """So much of a step, from 0 to 1, is there."""
        if kind in self.paces:
            self.paces[kind].advance(step, self.clock(), part)

    def end(self, step: Hashable, kind: str, worked: bool) -> None:
        """A step is done, here or before."""
        if kind in self.paces:
            self.paces[kind].end(step, self.clock(), worked)

    def left(self) -> Left | None:
        """What remains; None if nothing is known of it."""
        now = self.clock()
        known = [pace.left(now) for pace in self.paces.values()]
        seconds = sum(found for found in known if found is not None)
        whole = None not in known
        return Left(seconds, whole) if whole or seconds > 0 else None
