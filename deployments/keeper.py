"""Looks after the runs of one server: what died is recorded, and pipelines that were interrupted are started again.

This alone records that a run sends no heartbeat any more; earlier versions also registered an automation for that. Automations react to
events, and an event is lost when the server dies before the reaction: what died while the server was away stayed "Running" for ever.
This looks at states, so that it does not matter when it looks, and it has to look at them anyway: for runs that were claimed and never
started, for cancellations that nobody was left to carry out, and for interrupted pipelines. It lives as long as the server that started
it (`deployments.server`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry, Cancelled, Crashed

from bilp.errors import StorageError, StorageUnreachable
from bilp.text.escaping import shown
from bilp.text.unexpected import one_line
from deployments import register
from tasks.remote import was_interrupted

FLOWS = ("start", "pipeline", "sweep")
"""Flows that nobody waits for; units are submitted again by their pipelines."""
LOOK_SECONDS = float(os.environ.get("BILP_LOOK_SECONDS", "10"))
SILENCE = timedelta(seconds=90)
"""Three heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 in prefect.yaml)."""
PAGE = 200  # runs in one answer, the most that Prefect gives
MEMORY = timedelta(days=1)
CANCEL_TIMEOUT = timedelta(seconds=90)
START_TIMEOUT = timedelta(seconds=float(os.environ.get("BILP_START_SECONDS", "900")))
"""A claimed run may wait for its image and a free machine that long."""
OUT_OF_REACH = (StorageError, StorageUnreachable)
STORAGE_STARTS = 6  # starts of a pipeline that found the storage out of reach; somebody must see a wrong address in the end
STORAGE_PAUSE = timedelta(seconds=30)


def look_after(client: SyncPrefectClient, listening_since: datetime, claim_timeout: timedelta = START_TIMEOUT) -> None:
    """One look at all runs; `listening_since` tells from when on heartbeats could arrive."""
    now = datetime.now(UTC)
    for run in _runs(client, StateType.RUNNING):
        if now - listening_since > SILENCE and _age(run, now) > SILENCE and not _heard_of(client, run, now - SILENCE):
            _record(client, run, Crashed(message=f"no heartbeat for {SILENCE.seconds} s"))
    for run in _runs(client, StateType.PENDING):
        if _age(run, now) > claim_timeout:
            _record(client, run, Crashed(message="its worker claimed it and never started it"))
    for run in _runs(client, StateType.CANCELLING):
        if _age(run, now) > CANCEL_TIMEOUT:
            _record(client, run, Cancelled(message="no worker was left to stop it"))
    for run in _runs(client, StateType.CRASHED, StateType.FAILED, flows=FLOWS, ended_after=now - MEMORY):
        if not run.parent_task_run_id:
            _start_again(client, run, now)


def _start_again(client: SyncPrefectClient, run: FlowRun, now: datetime) -> None:
    """`flows.restarts` counts how often that happens to a run."""
    assert run.state is not None
    if was_interrupted(run.state):
        _record(client, run, AwaitingRetry(message="it was interrupted"))
    elif any(f"exception: {kind.__name__}: " in (run.state.message or "") for kind in OUT_OF_REACH) and run.run_count < STORAGE_STARTS:
        _record(client, run, AwaitingRetry(message="the storage was out of reach", scheduled_time=now + STORAGE_PAUSE))


def _runs(client: SyncPrefectClient, *types: StateType, flows: tuple[str, ...] = (), ended_after: datetime | None = None) -> list[FlowRun]:
    """All runs of deployments in these states (those that workers start), of these flows if any are named."""
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))),
        end_time=FlowRunFilterEndTime(after_=ended_after) if ended_after else None,
    )
    named = FlowFilter(name=FlowFilterName(any_=list(flows))) if flows else None
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(flow_filter=named, flow_run_filter=wanted, limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            return [run for run in found if run.deployment_id and run.state is not None]


def _age(run: FlowRun, now: datetime) -> timedelta:
    assert run.state is not None
    return now - run.state.timestamp


def _heard_of(client: SyncPrefectClient, run: FlowRun, since: datetime) -> bool:
    wanted = {"occurred": {"since": since.isoformat()}, "resource": {"id": [f"prefect.flow-run.{run.id}"]}}
    answer = client.request("POST", "/events/filter", json={"filter": wanted, "limit": 1})
    return bool(answer.json()["events"])


def _record(client: SyncPrefectClient, run: FlowRun, state: State[None]) -> None:
    client.set_flow_run_state(run.id, state, force=True)
    sys.stderr.write(shown(f"run {run.name} ({run.id}): {state.name}, {state.message}") + "\n")


def keep() -> None:
    """Register everything, then look after the runs until the server is gone, whatever goes wrong meanwhile."""
    threading.Thread(target=_end_with_owner, daemon=True).start()
    listening_since = datetime.now(UTC)
    registered = False
    while True:
        registered = registered or _attempt("registering", register.main)
        _attempt("looking after runs", lambda: _look(listening_since))
        time.sleep(LOOK_SECONDS)


def _look(listening_since: datetime) -> None:
    with get_client(sync_client=True) as client:
        look_after(client, listening_since)


def _attempt(what: str, action: Callable[[], None]) -> bool:
    """Whether it worked. A server that restarts, a run that was deleted meanwhile or a full disk is no reason to stop looking."""
    try:
        action()
    except Exception as error:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{what}: {one_line(error)}; trying again in {LOOK_SECONDS:.0f} s\n")
        return False
    return True


def _end_with_owner() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    keep()
