"""What somebody at a terminal sees: a line that is rewritten for each running stage and one for the whole, and a line for what is done.

Nothing is shown unless a program opens the display: in a notebook or a worker, Prefect's own logs tell the story.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import RLock

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bilp import ending
from bilp.text.escaping import shown
from tasks import output
from tasks.estimate import Clock, Estimate, Planned
from tasks.polling import interval
from tasks.rows import Row
from tasks.status_lines import BAR_FROM, bar, fitted, overall
from tasks.steps import Step

WIDEST = 1000  # cells of a line in a file
PLAIN_INTERVAL = 10.0  # seconds between two lines about running work where lines cannot be rewritten; more for what takes long


class Screen(Console):
    """A console that takes text as it is, and whose reader may go away, as `head` does, without ending what is being done."""

    def __init__(self, *, stderr: bool = False) -> None:
        """Without markup and emoji: [red] and :cat: are names of classes as well as others."""
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Say nothing more, also not at the end of the process."""
        self.quiet = True
        output.discard(self.file)


def print_line(console: Console, text: str) -> None:
    """Print text, fit to be shown (`bilp.text.escaping`), as one line which is not wrapped."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


class Display:
    """On a terminal, lines that are rewritten; in a file or a pipe, plain lines now and then. Threads may use it side by side."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        """Nothing is shown before `live` is started, or something is told."""
        self.console, self.clock = console, clock
        self.lock = RLock()
        self.began = self.told = clock()
        self.rows: dict[str, Row] = {}
        self.estimate = Estimate((), clock)
        self.live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self.live = Live(console=console, get_renderable=self.running, transient=True)

    def say(self, text: str) -> None:
        """One line that stays."""
        with suppress(OSError):  # the disk of a log may be full; the work goes on
            print_line(self.console, shown(text))

    def expect(self, plan: Sequence[Planned]) -> None:
        """From now on these steps are what the whole consists of."""
        with self.lock:
            self.estimate = Estimate(plan, self.clock)

    def whole(self, width: int) -> str:
        """Where the whole command is; empty if nobody said what that consists of."""
        known = self.estimate
        if not known.stages:
            return ""
        stage = known.stages[known.reached - 1] if known.reached else ""
        return overall(stage, known.reached, len(known.stages), self.clock() - self.began, known.left(), width)

    def running(self) -> Text:
        """The lines that are rewritten, as many as the terminal has room for, the one about the whole last."""
        with self.lock:
            width, now = self.console.width - 1, self.clock()
            unicode = not self.console.options.ascii_only
            lines = []
            told = sorted((row for row in self.rows.values() if row.first is not None), key=lambda row: not row.running)
            for row in told[: max(self.console.height - 2, 1)]:
                drawn = bar(row.part, *("━─" if unicode else "#-")) if width >= BAR_FROM else ""
                lines.append(fitted(row.title, "  ".join(row.numbers(now)), row.note or row.doing, width, drawn))
            whole = self.whole(width)
            return Text("\n".join([*lines, *([whole] if whole else [])]), no_wrap=True, overflow="crop")

    def begin(self, line: Line) -> None:
        """A task begins."""
        step = line.step
        with self.lock:
            self.rows.setdefault(step.title, Row(shown(step.title), self.clock())).begin(line, step)
            self.estimate.begin(line, step.stage, step.kind)

    def advance(self, line: Line, done: int, total: int, note: str) -> None:
        """A task tells where it is."""
        part = done / max(total, 1)
        with self.lock:
            row = self.rows[line.step.title]
            row.advance(line, part, shown(note), self.clock())
            self.estimate.advance(line, line.step.kind, part)
            now = self.clock()
            if self.live is None and now - max(self.told, row.began) >= interval(now - self.began, PLAIN_INTERVAL):
                self.told = now
                numbers = ", ".join([*row.numbers(now), *([row.note] if row.note else [])])
                whole = self.whole(WIDEST)
                self.say(f"           {row.title}: {numbers}" + (f"; {whole}" if whole else ""))

    def end(self, line: Line, worked: bool, result: str) -> None:
        """A task is done; its row leaves a line if that is so, too."""
        step = line.step
        with self.lock:
            self.estimate.end(line, step.kind, worked)
            row = self.rows[step.title]
            row.end(line, worked, shown(result))
            if step.closes:
                del self.rows[step.title]
                if not step.quiet:
                    self._leave(row, row.told)

    def stop(self, line: Line, error: BaseException) -> None:
        """A task ended by an error."""
        with self.lock:
            row = self.rows[line.step.title]
            where = row.stop(line)
            if isinstance(error, Exception) and not ending.was_interrupted(error):
                self._leave(row, " in ".join(part for part in (f"stopped by {type(error).__name__}", where) if part))

    def _leave(self, row: Row, outcome: str) -> None:
        self.say(f"{self.clock() - row.began:7.1f} s  {row.title}: {outcome}")

    @property
    def resumes(self) -> list[str]:
        """Where work that has begun continues when the same command is given again."""
        with self.lock:
            return [row.resumes for row in self.rows.values() if row.resumes]


class Line:
    """One running task on the display."""

    def __init__(self, display: Display | None, label: str, step: Step | None = None) -> None:
        """It begins now; `step` says what it is a part of, if not of itself alone."""
        self.display, self.label = display, shown(label)
        self.step = step or Step("", label, label)
        self.began = time.monotonic()
        if display is not None:
            display.begin(self)

    def advance(self, done: int, total: int, note: str) -> None:
        """It tells where it is."""
        if self.display is not None:
            self.display.advance(self, done, total, note)

    def end(self, outcome: str, result: str = "") -> None:
        """It is done (DONE) or was done before (THERE); `result` says in a few words what came out."""
        if self.display is not None:
            self.display.end(self, outcome != THERE, result)

    def stop(self, error: BaseException) -> None:
        """It ends without a result."""
        if self.display is not None:
            self.display.stop(self, error)


DONE, THERE = "done", "there already"

_display: Display | None = None


@contextmanager
def display() -> Iterator[None]:
    """Show what happens until the block ends, on the standard error stream."""
    global _display
    _display = shows = Display(Screen(stderr=True))
    try:
        if shows.live is not None:
            with shows.live:
                yield
        else:
            yield
    except BaseException:
        ending.continues_at(shows.resumes)
        raise
    finally:
        _display = None


def watches() -> bool:
    """Whether anybody looks."""
    return _display is not None


def expect(plan: Sequence[Planned]) -> None:
    """What the command that begins consists of, for the line about the whole."""
    if _display is not None:
        _display.expect(plan)


def say(text: str) -> None:
    """One line, if anybody looks."""
    if _display is not None:
        _display.say(text)


def line(label: str, step: Step | None = None) -> Line:
    """A line for a task that starts now."""
    return Line(_display, label, step)
