"""How far a call has come: one bar in a notebook, one at a terminal, and nothing where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from bilp.api import notebook
from bilp.progress import Progress, silent
from bilp.text.escaping import shown


class Watch(Protocol):
    """Whoever watches."""

    def step(self, label: str) -> Progress:
        """A step begins; what it calls moves the bar."""


class _Nobody:
    def step(self, label: str) -> Progress:
        return silent


class _Notebook:
    def __init__(self) -> None:
        self.status = notebook.Status()

    def step(self, label: str) -> Progress:
        """The progress of a step, shown below the cell."""

        def progress(done: int, total: int, note: str = "") -> None:
            self.status.show(label, done / max(total, 1))

        self.status.show(label)
        return progress


class _Terminal:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}", markup=False), BarColumn(24), TaskProgressColumn(), TimeRemainingColumn())
        self.bars = Bars(*columns, console=Console(stderr=True), transient=True)

    def step(self, label: str) -> Progress:
        """The progress of a step, as a bar in the place of the one before."""
        for task in self.bars.task_ids:
            self.bars.remove_task(task)
        task = self.bars.add_task(shown(label), total=None)

        def progress(done: int, total: int, note: str = "") -> None:
            self.bars.update(task, completed=done, total=total)

        return progress


_current: Watch | None = None


@contextmanager
def watched() -> Iterator[Watch]:
    """Who watches in the block; a nested call shares the same progress bar."""
    global _current
    if _current is not None:
        yield _current
        return
    try:
        if notebook.here():
            _current = watch = _Notebook()
            try:
                yield watch
            finally:
                watch.status.clear()
        elif sys.stderr is not None and sys.stderr.isatty():
            _current = terminal = _Terminal()
            with terminal.bars:
                yield terminal
        else:
            _current = nobody = _Nobody()
            yield nobody
    finally:
        _current = None
