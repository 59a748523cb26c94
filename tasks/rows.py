"""The lines of a display, each about all tasks that belong together: the ten rounds of an arm, the trials of a scoring."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from tasks.estimate import Left
from tasks.status_lines import remaining
from tasks.steps import Step

LEAST_DONE = 0.01
"""Part of what remained at first below which nobody can tell how long the rest takes."""


@dataclass
class Row:
    """What is known of the tasks of one line; times are seconds of the display's clock."""

    title: str
    began: float
    total: int = 0
    noun: str = ""
    note: str = ""
    result: str = ""
    doing: str = ""
    done: set[int] = field(default_factory=set)
    there: set[int] = field(default_factory=set)
    worked: bool = False
    running: dict[Hashable, tuple[Step, float]] = field(default_factory=dict)
    """Steps and how much of each, from 0 to 1, is there."""
    first: tuple[float, float] | None = None
    """When progress was first told, and what was there already."""

    def begin(self, line: Hashable, step: Step) -> None:
        """A task of this line begins."""
        self.running[line] = (step, 0.0)
        self.doing = step.doing
        if step.total:
            self.total, self.noun = step.total, step.noun

    def advance(self, line: Hashable, part: float, note: str, now: float) -> None:
        """So much of a task is there."""
        self.running[line] = (self.running[line][0], part)
        self.note = note
        self.first = self.first or (now, self.part)

    def end(self, line: Hashable, worked: bool, result: str) -> None:
        """A task is done, here or before."""
        step, _ = self.running.pop(line)
        self.worked |= worked
        self.result = result or (self.note if step.note_stays and worked else self.result)
        self.note = ""
        if step.total:
            self.done.add(step.number)
            if not worked:
                self.there.add(step.number)

    def stop(self, line: Hashable) -> str:
        """A task ended without a result; where the work stopped."""
        step, _ = self.running.pop(line)
        return f"{step.noun} {step.number} of {step.total}" if step.noun else ""

    @property
    def part(self) -> float:
        """How much of everything is there, from 0 to 1; what does not count says so for itself."""
        counted = [part for step, part in self.running.values() if step.total]
        if not self.total:
            return max((part for _, part in self.running.values()), default=0.0)
        return min((len(self.done) + sum(counted)) / self.total, 1.0)

    def left(self, now: float) -> Left | None:
        """The time until the last of its tasks is done; None before enough of the rest was done to say."""
        if self.first is None:
            return None
        since, before = self.first
        done = self.part - before
        if done <= 0 or done < LEAST_DONE * (1 - before):  # what first told of itself may be all there is
            return None
        return Left((now - since) / done * (1 - self.part), whole=True)

    def numbers(self, now: float) -> list[str]:
        """'round 6 of 10', '58 %', 'about 8 s left'."""
        place = ""
        if self.noun and self.total > 1:
            place = self._place()
        return [text for text in (place, f"{int(100 * self.part)} %", remaining(self.left(now))) if text]

    def _place(self) -> str:
        """'trial 2 of 5'; of several side by side 'trials 2-4 of 5', the first and the last."""
        numbers = [step.number for step, _ in self.running.values() if step.total] or [len(self.done) + 1]
        first, last = min(min(numbers), self.total), min(max(numbers), self.total)
        return f"{self.noun} {last} of {self.total}" if first == last else f"{self.noun}s {first}-{last} of {self.total}"

    @property
    def told(self) -> str:
        """What was done in all: '10 rounds, 4 of them there already, loss 0.41'."""
        parts = []
        if self.noun and self.total > 1 and self.done:
            parts.append(f"{self.total} {self.noun}s")
            if self.there and self.worked:
                parts.append(f"{len(self.there)} of them there already")
        parts += [self.result] if self.result else []
        if not self.worked:
            parts.append("there already")
        return ", ".join(parts) or "done"

    @property
    def resumes(self) -> str:
        """Where the same command continues if it ends now; empty for work that has no such places."""
        if not self.noun:
            return ""
        finished = len(self.done)
        return f"{self.title} after {self.noun} {finished} of {self.total}" if finished else f"{self.title} at its beginning"
