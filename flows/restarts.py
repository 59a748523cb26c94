"""A pipeline that crashed is started again by the server; one that crashes every time must not be started for ever."""

from __future__ import annotations

from prefect.context import FlowRunContext

from bilp.errors import BilpError

MOST_STARTS = 20


def refuse_endless_restarts() -> None:
    """Raise BilpError if this flow run was started too often."""
    context = FlowRunContext.get()
    starts = context.flow_run.run_count if context and context.flow_run else 0
    if starts > MOST_STARTS:
        raise BilpError(
            f"this run was started {starts} times and never ended: look at the log of its worker (memory?), then start a new run, "
            "which finds what is finished"
        )
