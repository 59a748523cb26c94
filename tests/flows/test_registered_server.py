"""A server on which everything is registered: what it refuses, and and what its keeper makes of runs whose process nobody heard
of again; states are set as they are found after a crash.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ParameterTypeError
from prefect.states import Cancelling, Completed, Crashed, Failed, Pending, Running
from prefect_database import another_home
from tiny_pipeline import REPOSITORY

from deployments import keeper, register
from flows.ingest import ingest
from flows.local import server as local_server

pytestmark = pytest.mark.slow

PARAMETERS = {"distill-run/gpu": {"run_uri": "somewhere"}}
LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture(scope="module")
def client(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """A server of its own on which everything is registered."""
    environment = os.environ | {"PREFECT_HOME": str(another_home(template, tmp_path_factory.mktemp("keeper") / "home"))}
    environment |= {"BILP_HOME": str(REPOSITORY)}
    server = local_server.start(environment)
    try:
        environment["PREFECT_API_URL"] = server.url
        subprocess.run([sys.executable, "-m", "deployments.register"], cwd=REPOSITORY, env=environment, check=True, capture_output=True)
        with SyncPrefectClient(server.url) as connected:
            yield connected
    finally:
        server.stop()


def state_after(client: SyncPrefectClient, state: State[None], deployment: str = "pipeline/digits", deaf: bool = False) -> str:
    """The name of the state that the keeper leaves a run in that it finds in this one."""
    found = client.read_deployment_by_name(deployment)
    run: UUID = client.create_flow_run_from_deployment(found.id, parameters=PARAMETERS.get(deployment, {})).id
    client.set_flow_run_state(run, Running(), force=True)
    client.set_flow_run_state(run, state, force=True)
    keeper.look_after(client, datetime.now(UTC) if deaf else LONG_AGO)
    name = client.read_flow_run(run).state_name
    client.delete_flow_run(run)
    return str(name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all that is found were old."""
    for name in ("CANCEL_TIMEOUT", "SILENCE"):
        monkeypatch.setattr(keeper, name, timedelta(0))


def test_interrupted_pipelines_start_again_and_others_do_not(client: SyncPrefectClient) -> None:
    assert state_after(client, Crashed()) == "AwaitingRetry"
    assert state_after(client, Crashed(), "start/digits") == "AwaitingRetry"
    assert state_after(client, Failed(message="Flow run encountered an exception: ConnectError: refused")) == "AwaitingRetry"
    assert state_after(client, Failed(message="Flow run encountered an exception: StorageError: no answer")) == "AwaitingRetry"
    assert state_after(client, Failed(message="Flow run encountered an exception: StorageUnreachable: no answer")) == "AwaitingRetry"
    assert state_after(client, Failed(message="Flow run encountered an exception: StorageMisconfigured: no bucket")) == "Failed"
    assert state_after(client, Failed(message="Flow run encountered an exception: ConfigError: no")) == "Failed"
    assert state_after(client, Completed()) == "Completed"
    assert state_after(client, Crashed(), "distill-run/gpu") == "Crashed", "whoever submitted a unit submits it again"


def test_silence_is_a_crash_once_it_could_have_been_heard(client: SyncPrefectClient, impatient: None) -> None:
    assert state_after(client, Running(), "distill-run/gpu") == "Crashed"
    assert state_after(client, Cancelling()) == "Cancelled"


def test_patience_with_the_living(client: SyncPrefectClient) -> None:
    assert state_after(client, Running(), "distill-run/gpu") == "Running"
    assert state_after(client, Running(), "distill-run/gpu", deaf=True) == "Running"
    assert state_after(client, Pending()) == "Pending"
    assert state_after(client, Cancelling()) == "Cancelling"


def test_what_was_claimed_and_never_started_is_a_crash(client: SyncPrefectClient) -> None:
    found = client.read_deployment_by_name("distill-run/gpu")
    run = client.create_flow_run_from_deployment(found.id, parameters=PARAMETERS["distill-run/gpu"]).id
    client.set_flow_run_state(run, Pending(), force=True)
    keeper.look_after(client, LONG_AGO, claim_timeout=timedelta(0))
    assert client.read_flow_run(run).state_name == "Crashed"


def test_keepers_look_at_every_page_of_runs(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PAGE", 2)
    found = client.read_deployment_by_name("pipeline/digits")
    runs = [client.create_flow_run_from_deployment(found.id).id for _ in range(5)]
    for run in runs:
        client.set_flow_run_state(run, Crashed(), force=True)
    keeper.look_after(client, LONG_AGO)
    assert {client.read_flow_run(run).state_name for run in runs} == {"AwaitingRetry"}


def test_only_runs_that_workers_start_have_to_be_heard_of(client: SyncPrefectClient, impatient: None) -> None:
    by_hand = client.create_flow_run(Flow(lambda: None, name="by-hand"), state=Pending()).id
    client.set_flow_run_state(by_hand, Running(), force=True)
    keeper.look_after(client, LONG_AGO)
    assert client.read_flow_run(by_hand).state_name == "Running"


def test_registering_deletes_the_automation_of_earlier_versions_alone(client: SyncPrefectClient) -> None:
    earlier, foreign = (
        AutomationCore(
            name=name,
            trigger=EventTrigger(expect={"prefect.flow-run.*"}, posture=Posture.Proactive, threshold=1, within=timedelta(seconds=90)),
            actions=[ChangeFlowRunState(state=StateType.CRASHED)],
        )
        for name in (register.RETIRED_AUTOMATION, "somebody's own")
    )
    for automation in (earlier, foreign):
        client.create_automation(automation)
    for _ in range(2):
        register.retire(client)
        assert [len(client.read_automations_by_name(automation.name)) for automation in (earlier, foreign)] == [0, 1]


@pytest.mark.parametrize(
    ("deployment", "parameters", "names"),
    [
        ("pipeline/digits", {"config": {"ipc": 0}}, "less than the minimum"),
        ("pipeline/digits", {"config": {"dataset": "imagenet"}}, "is not one of"),
        ("pipeline/digits", {"config": {"recipe": "no-such-recipe"}}, "is not one of"),
        ("pipeline/digits", {"config": {"icp": 1}}, "icp"),
        ("pipeline/digits", {"config": {"distill": {"rounds": "ten"}}}, "config.distill.rounds"),
        ("sweep/sweep", {"vary": {"keep": 0.5}}, "is not of type"),
        ("start/digits", {"config": {"ipc": 0}}, "less than the minimum"),
        ("start/digits", {"config": {"method": {"name": "dm", "idc": {}}}}, "config.method"),
        ("start/my-images", {"config": {"resolution": 32}}, "'uri' is a required property"),
        ("start/published-recipe", {"config": {"recipe": "digits"}}, "is not one of"),
        ("start/sweep", {"config": {"keep": [0.5, 1.5]}}, "greater than the maximum"),
        ("start/study", {"config": {"processes": 0}}, "less than the minimum"),
        ("study/study", {"definition": {}, "processes": 0}, "less than the minimum"),
    ],
)
def test_a_wrong_value_is_refused_before_a_run_exists(
    client: SyncPrefectClient, deployment: str, parameters: dict[str, Any], names: str
) -> None:
    found = client.read_deployment_by_name(deployment)
    with pytest.raises(httpx.HTTPStatusError) as refused:
        client.create_flow_run_from_deployment(found.id, parameters=parameters)
    assert refused.value.response.status_code == 409
    assert names in refused.value.response.text


def test_a_wrong_value_of_what_programs_start_is_refused_by_the_flow_itself(client: SyncPrefectClient) -> None:
    """The server does not check these, each of whose schemas takes it a second: what starts them has been checked, or is by their flow."""
    left = {found.name for found in client.read_deployments() if not found.enforce_parameter_schema}
    assert left == {found.name for found in client.read_deployments() if "internal" in found.tags}
    with pytest.raises(ParameterTypeError, match=r"config\.resolution: Input should be greater than or equal to 1"):
        ingest.validate_parameters({"config": {"source": "digits", "resolution": -1}, "root": None})


def test_queues_are_served_in_the_order_of_their_priority(client: SyncPrefectClient) -> None:
    for pool in register.POOLS:
        queues = client.request("POST", f"/work_pools/{pool}/queues/filter", json={}).json()
        assert [queue["name"] for queue in sorted(queues, key=lambda queue: queue["priority"])] == list(register.QUEUES)


def test_schedules_are_paused_and_do_not_pile_up(client: SyncPrefectClient) -> None:
    deployments = client.read_deployments()
    scheduled = [found for found in deployments if found.schedules]
    assert sorted(found.name for found in scheduled) == ["my-images-on-a-schedule", "nightly", "scheduled"]
    assert {schedule.active for found in scheduled for schedule in found.schedules} == {False}
    assert [found.global_concurrency_limit.limit for found in scheduled if found.global_concurrency_limit] == [1, 1, 1]
