"""What somebody at a terminal sees: a bar with the remaining time for each running stage, a line for each finished one.

Nothing is shown unless a program opens the display: in a notebook or a worker, Prefect's own logs tell the story.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bilp.text.escaping import shown
from tasks import output

PLAIN_INTERVAL = 10.0  # seconds between two lines about one stage where bars cannot be drawn


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
    """Live bars on a terminal; in a file or a pipe, plain lines now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Progress | None = None
        if console.is_terminal:
            label, note = (TextColumn(part, markup=False) for part in ("{task.description}", "{task.fields[note]}"))
            columns = (label, BarColumn(24), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), note)
            self.live = Progress(*columns, console=console, transient=True)

    def say(self, text: str) -> None:
        with suppress(OSError):  # the disk of a log may be full; the work goes on
            print_line(self.console, shown(text))


class Line:
    """One running stage on the display. Its bar appears with the first progress, so what is there already shows none."""

    def __init__(self, display: Display | None, label: str) -> None:
        self.display = display
        self.label = shown(label)
        self.began = self.shown = time.monotonic()
        self.bar: TaskID | None = None

    def advance(self, done: int, total: int, note: str) -> None:
        if self.display is None:
            return
        note = shown(note)
        if self.display.live is not None:
            if self.bar is None:
                self.bar = self.display.live.add_task(self.label, total=total, note=note)
            self.display.live.update(self.bar, completed=done, total=total, note=note)
        elif time.monotonic() - self.shown >= PLAIN_INTERVAL:
            self.shown = time.monotonic()
            left = (self.shown - self.began) / max(done, 1) * (total - done)
            self.display.say(f"      {self.label}: {done}/{total}, about {left:.0f} s left  {note}".rstrip())

    def end(self, outcome: str) -> None:
        if self.display is None:
            return
        if self.display.live is not None and self.bar is not None:
            self.display.live.remove_task(self.bar)
            self.display.live.refresh()
        self.display.say(f"{time.monotonic() - self.began:7.1f} s  {self.label}: {outcome}")


_display: Display | None = None


@contextmanager
def display() -> Iterator[None]:
    """Show what happens until the block ends, on the standard error stream."""
    global _display
    _display = Display(Screen(stderr=True))
    try:
        if _display.live is not None:
            with _display.live:
                yield
        else:
            yield
    finally:
        _display = None


def say(text: str) -> None:
    """One line, if anybody looks."""
    if _display is not None:
        _display.say(text)


def line(label: str) -> Line:
    """A line for a stage that starts now."""
    return Line(_display, label)
