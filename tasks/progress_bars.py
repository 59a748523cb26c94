"""Progress of the running task: a line in the terminal and a progress artifact in Prefect's UI."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from prefect.logging import get_logger

from bilp.artifacts import lease
from bilp.text.escaping import markdown
from tasks import in_notebook, run_progress, terminal
from tasks.estimate import Left
from tasks.polling import interval
from tasks.status_lines import remaining
from tasks.steps import Step
from tasks.stopping import stop_if_asked

ARTIFACT_INTERVAL = 2.0  # seconds between two updates in the UI, each of which costs a request; more for what takes long


class Watch:
    """The progress of one task run, as the functions of bilp call it."""

    def __init__(self, line: terminal.Line) -> None:
        self.line = line
        self.artifact: UUID | None = None
        self.sent = time.monotonic()
        self.first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        stop_if_asked()
        lease.stop_if_lost()
        self.line.advance(done, total, note)
        in_notebook.tell(self.line.label, done, total)
        run_progress.step(done / max(total, 1))
        now = time.monotonic()
        self.first = self.first or (now, done)
        # A stage that ends within the first interval has nothing to show.
        due = self.sent + interval(self.sent - self.line.began, ARTIFACT_INTERVAL)
        if TaskRunContext.get() is not None and now >= due:
            left = seconds_left(now - self.first[0], done - self.first[1], total - done)
            self._send(100.0 * done / max(total, 1), note if left is None else f"{note} ({remaining(Left(left, whole=True))})".lstrip())
            self.sent = time.monotonic()

    def finish(self) -> None:
        """Fill the bar in the UI, if there is one."""
        if self.artifact is not None:
            self._send(100.0, "done")

    def _send(self, percent: float, note: str) -> None:
        text = markdown(f"{self.line.label}: {note}".removesuffix(": "))
        try:
            if self.artifact is None:
                self.artifact = _identifier(create_progress_artifact(percent, description=text))
            else:
                update_progress_artifact(self.artifact, percent, description=text)
        except Exception as error:  # a bar that cannot be drawn is no reason to lose the work
            get_logger("tasks").warning("no progress in the UI: %s", error)


def seconds_left(seconds: float, steps: int, left: int) -> float | None:
    """The time that `left` steps take if `steps` took `seconds`; None before there was one. What lay there already is no step."""
    return seconds / steps * left if steps > 0 else None


_current: ContextVar[Watch] = ContextVar("current")


@contextmanager
def watched(label: str, step: Step | None = None) -> Iterator[Watch]:
    """The block's progress goes under this label; `step` says what it is a part of."""
    watch = Watch(terminal.line(label, step))
    token = _current.set(watch)
    try:
        yield watch
    finally:
        _current.reset(token)


def progress() -> Watch:
    """The progress of the task run that asks."""
    return _current.get()


def _identifier(created: object) -> UUID:
    """Prefect types these calls for synchronous and asynchronous callers at once; here they are synchronous."""
    assert isinstance(created, UUID)
    return created
