"""Stopping tasks that run in threads: an interrupt or a cancellation reaches the main thread only.

Work that reports progress looks, each time, whether its flow run was stopped; it then ends within a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.context import FlowRunContext, TaskRunContext

_stopped: set[UUID] = set()


class Stopped(BaseException):
    """The flow run that this task belongs to was interrupted or cancelled."""


@contextmanager
def stoppable() -> Iterator[None]:
    """A flow maps tasks and waits for them inside this block; if it is interrupted there, the tasks stop too."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        flow = FlowRunContext.get()
        if flow is not None and flow.flow_run is not None:
            _stopped.add(flow.flow_run.id)
        raise


def stop_if_asked() -> None:
    """Raise Stopped in a task whose flow run was stopped."""
    task = TaskRunContext.get()
    if _stopped and task is not None and task.task_run.flow_run_id in _stopped:
        raise Stopped
