"""A unit of work that a worker carries out: its run is submitted, watched, and submitted again if its process or machine died.

The artifact is the truth: a unit is done when its artifact is published, whatever a run's state says. Runs of one unit have
idempotency keys `<unit>:<number>`, so that pipelines that want the same unit at the same time share one run, and a pipeline
that was itself started again finds the run that it had submitted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.logging import get_logger
from prefect.states import Cancelling, Crashed

from bilp.artifacts import lease, usage
from bilp.artifacts.artifact import content_key, is_whole
from bilp.artifacts.manifest_file import MANIFEST
from bilp.errors import BilpError, LeaseLost, StorageError
from bilp.evaluate import training_blocks
from bilp.storage.objects import join
from tasks import steps, terminal
from tasks.execution import Execution
from tasks.polling import LONGEST, interval
from tasks.stopping import stop_if_asked
from tasks.task import stage

T = TypeVar("T")

OUT_OF_REACH = "StorageOutOfReach"
"""Name of the state of a run that gave up because the object storage did not answer."""

# What httpx raises, as Prefect quotes it in the message of a failed run.
_SERVER_AWAY = re.compile(r"exception: (Connect|Read|Write|Pool|Network|RemoteProtocol|LocalProtocol|Timeout)(Error|Timeout|Exception)?: ")

# A process that was given up comes back and stops itself: its run, recorded as crashed before, then ends as failed.
_GIVEN_TO_ANOTHER = f"exception: {LeaseLost.__name__}: "

POLLS_PER_SECOND = 10.0  # of all units that are waited for at the same time, as far as their leases allow
CRASHES = 5  # attempts after the first
SERVER_TIMEOUT = 600.0  # seconds that the Prefect server may be away
START_SECONDS = 180.0
LATE = 60.0  # seconds after which somebody who looks is told that a unit still waits for a worker
MOST_RUNS = 200  # runs of one unit that are looked for
DELAYS = (1.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds before another attempt."""
CASCADE = "its pipeline was stopped"
SERVERS_CASCADE = "The parent flow run was cancelled."


class UnitFailed(BilpError):
    """A run of a unit failed for a reason that another attempt would meet again."""


@stage("{label}", steps.elsewhere)
def run_on_worker(label: str, deployment: str, parameters: Mapping[str, Any], artifact: str, root: str, among: int = 1) -> str:
    """Have `deployment` ("flow/name") run with these parameters until `artifact` is published; its URI.

    It is one of `among` units that are waited for at the same time; the more these are, the longer is the polling interval.
    Raises UnitFailed if a run failed, was cancelled by somebody, or crashed more than CRASHES times.
    """
    execution = Execution()
    unit = f"{deployment}:{content_key('unit', 1, deployment=deployment, parameters=dict(parameters))}"
    with get_client(sync_client=True) as client:
        for crashes in range(CRASHES + 1):
            if is_published(artifact):
                return artifact
            run = _answer_of(lambda: _run_of(client, unit, label, deployment, parameters, execution.queue))
            try:
                run = _watch(client, run, label, LivenessProbe(lease_uri(artifact, root), owner_of(run.id), execution.lease_seconds), among)
            except BaseException:
                _cancel(client, run.id)
                raise
            if is_published(artifact):
                return artifact
            _judge(client, run, label, crashes)
    raise AssertionError("unreachable")


def is_published(artifact: str) -> bool:
    """Whether a complete artifact lies there, or every training of a block. Raises DamagedArtifact if a file of an artifact is missing
    or of another size."""
    if training_blocks.is_block(artifact):
        return training_blocks.is_there(artifact)
    usage.note(join(artifact, MANIFEST))
    return is_whole(artifact)


def _runs(client: SyncPrefectClient, unit: str) -> list[FlowRun]:
    keys = [f"{unit}:{number}" for number in range(1, MOST_RUNS)]
    wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=keys))
    return client.read_flow_runs(flow_run_filter=wanted, limit=MOST_RUNS)


def _run_of(client: SyncPrefectClient, unit: str, label: str, deployment: str, parameters: Mapping[str, Any], queue: str) -> FlowRun:
    """A run of the unit that has not ended, whoever submitted it; else a new one, linked to the task run that asks for it."""
    runs = _runs(client, unit)
    open_run = next((run for run in runs if run.state is not None and not run.state.is_final()), None)
    if open_run is not None:
        return open_run
    submitted = run_deployment(
        deployment,
        parameters=dict(parameters),
        flow_run_name=label,
        timeout=0,
        idempotency_key=f"{unit}:{len(runs) + 1}",
        work_queue_name=queue,
    )
    assert isinstance(submitted, FlowRun), "Prefect types this call for synchronous and asynchronous callers at once"
    return submitted


def _watch(client: SyncPrefectClient, run: FlowRun, label: str, probe: LivenessProbe, among: int) -> FlowRun:
    """The run as it ended, or as crashed if its process is silent."""
    shortest = min(max(Execution().poll_seconds, among / POLLS_PER_SECOND), LONGEST)
    began, told, run_id = time.monotonic(), False, run.id
    get_logger("tasks").info("%s is run %s (%s)", label, run.name, run_id)
    while run.state is None or not run.state.is_final():
        _wait(interval(time.monotonic() - began, shortest))
        usage.renew()
        run = _answer_of(lambda: client.read_flow_run(run_id))
        if not probe(run.state is not None and run.state.is_running()):
            _answer_of(lambda: _record_crash(client, run_id, probe.timeout))
        if not told and run.start_time is None and time.monotonic() - began > LATE:
            told = True
            terminal.say(f"          {label} waits for a worker; `bilp worker` starts one here, `prefect work-pool ls` lists the pools")
    return run


def _record_crash(client: SyncPrefectClient, run_id: UUID, silence: float) -> None:
    crashed: State[Any] = Crashed(message=f"its lease was not renewed for {silence:.0f} s")
    client.set_flow_run_state(run_id, crashed, force=True)


class LivenessProbe:
    """Whether somebody works on an artifact, from the renewals of its lease and this process's own clock.

    The server's keeper (`deployments.keeper`) finds silent runs too, of pipelines as well, but by heartbeats, which reach it only
    while the server is there; a lease is renewed in the object storage.
    """

    def __init__(self, lease_uri: str, owner: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.uri, self.owner = lease_uri, owner
        self.watch = lease.Watch(seconds, clock)
        self.timeout = self.watch.timeout
        self.running = self.begun = False
        self.looked = 0.0

    def __call__(self, running: bool) -> bool:
        """False once a running process was silent for too long; cheap enough for every poll."""
        asked = self.watch.clock()
        if running and self.running and asked - self.looked < self.timeout / 6:
            return True
        self.looked = asked
        try:
            seen = lease.last_sign(self.uri)
        except StorageError:
            self.watch.forget()  # out of reach, for the run as well
            return True
        if not running or not self.running:
            self.running, self.begun = running, False
            self.watch.forget()
        elif self.watch.sign not in (None, seen):
            self.begun = True
        silence = self.watch.silence(seen, asked)
        # Before its first claim a process has to start and to import torch.
        begun = self.begun or self.owner.encode() in seen
        return silence < (self.timeout if begun else max(self.timeout, START_SECONDS))


def owner_of(run_id: UUID) -> str:
    """What a run calls itself in the claims of its leases."""
    return f"flow-run:{run_id}"


def lease_uri(artifact: str, root: str) -> str:
    """The lease of the work that publishes `artifact`."""
    return join(root, "leases", artifact.removeprefix(root).strip("/"))


def _judge(client: SyncPrefectClient, run: FlowRun, label: str, crashes: int) -> None:
    """Return if another attempt makes sense; raise UnitFailed if not."""
    state = run.state
    assert state is not None
    why = f"{label}, run {run.name} ({run.id}), ended as {state.name}: {state.message or 'no message'}"
    transient = was_interrupted(state) or state.is_completed() or _stopped_by_another(client, run, state)
    if not transient:
        raise UnitFailed(f"{why}; correct the cause and start the same pipeline again, what is finished stays")
    if crashes == CRASHES:
        raise UnitFailed(f"{why}, after {crashes} attempts that crashed likewise; look at the worker's log, then start the pipeline again")
    terminal.say(f"          {why}; trying again")
    get_logger("tasks").warning("%s; trying again", why)
    _wait(DELAYS[crashes])


def _wait(seconds: float) -> None:
    """Sleep, and wake up if the flow run is stopped."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stop_if_asked()
        time.sleep(0.2)


def was_interrupted(state: State[Any]) -> bool:
    """Whether a run ended for a reason outside of it: its process died or lost its work to another, or the storage or the Prefect
    server was away.

    A client of Prefect tries again only if it reached the server before, so that a flow which begins meanwhile fails.
    """
    message = (state.message or "") if state.is_failed() else ""
    return state.is_crashed() or state.name == OUT_OF_REACH or bool(_SERVER_AWAY.search(message)) or _GIVEN_TO_ANOTHER in message


def _stopped_by_another(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> bool:
    """Whether a run that we share was cancelled only because the other pipeline was, by that one or by the server."""
    if not state.is_cancelled():
        return False
    return any(past.message in (CASCADE, SERVERS_CASCADE) for past in client.read_flow_run_states(run.id))


def _cancel(client: SyncPrefectClient, run_id: UUID) -> None:
    """Nobody waits for the run any more; the worker stops it, and its finished rounds stay."""
    try:
        client.set_flow_run_state(run_id, Cancelling(message=CASCADE))
    except Exception as error:
        get_logger("tasks").warning("run %s goes on, it could not be cancelled: %s", run_id, error)


def _answer_of(ask: Callable[[], T]) -> T:
    """The answer of a Prefect server that may be restarting."""
    end = time.monotonic() + SERVER_TIMEOUT
    while True:
        stop_if_asked()
        try:
            return ask()
        except httpx.HTTPError as error:
            refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
            if refused or time.monotonic() > end:
                raise UnitFailed(
                    f"the Prefect server cannot be asked: {error}; start it (bilp server) or correct PREFECT_API_URL"
                ) from error
            time.sleep(Execution().poll_seconds)
