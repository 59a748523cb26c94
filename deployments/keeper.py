"""Looks after the pipelines of one server: what crashed, or met a server or a storage that was away, is started again,
and what was to stop but has no process any more is recorded as cancelled.

The server's automations react to events, and an event is lost when the server dies between the end of a run and the reaction. This
looks at states instead, so that it does not matter when it looks. It lives as long as the server that started it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Cancelled

from deployments import register
from tasks.remote import was_interrupted

FLOWS = ["pipeline", "sweep"]
"""Flows that nobody waits for; units are submitted again by their pipelines."""
LOOK_SECONDS = 10.0
MEMORY = timedelta(days=1)
CANCEL_PATIENCE = timedelta(seconds=90)


def start_again(client: SyncPrefectClient) -> list[FlowRun]:
    """Schedule the pipelines that were interrupted within the last day; `flows.restarts` counts how often that happens to one."""
    ended = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=FLOWS)),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED, StateType.FAILED]))),
        limit=200,
    )
    since = datetime.now(UTC) - MEMORY
    recent = [run for run in ended if run.deployment_id and not run.parent_task_run_id and run.end_time and run.end_time > since]
    waiting = [run for run in recent if run.state is not None and was_interrupted(run.state)]
    for run in waiting:
        client.set_flow_run_state(run.id, AwaitingRetry(message="its process died"), force=True)
    return waiting


def bury_cancelled(client: SyncPrefectClient) -> list[FlowRun]:
    """Record as cancelled what was asked to stop and has no process left that could: a live one stops within a step."""
    asked = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING]))), limit=200
    )
    before = datetime.now(UTC) - CANCEL_PATIENCE
    dead = [run for run in asked if run.state is not None and run.state.timestamp < before]
    for run in dead:
        client.set_flow_run_state(run.id, Cancelled(message="nobody was left to stop"), force=True)
    return dead


def keep() -> None:
    """Register everything, then look after the pipelines until the server is gone."""
    threading.Thread(target=_end_with_owner, daemon=True).start()
    register.main()
    while True:
        try:
            with get_client(sync_client=True) as client:
                for run in start_again(client):
                    sys.stderr.write(f"pipeline {run.name} ({run.id}) was interrupted; it starts again\n")
                bury_cancelled(client)
        except httpx.HTTPError as error:
            sys.stderr.write(f"the server does not answer ({error}); looking again later\n")
        time.sleep(LOOK_SECONDS)


def _end_with_owner() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    keep()
