"""What the server's keeper makes of runs whose process nobody heard of again; states are set as they are found after a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Cancelling, Completed, Crashed, Failed, Pending, Running
from prefect_database import another_home
from tiny_pipeline import REPOSITORY

from deployments import keeper
from flows import local_server

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
    for name in ("CANCEL_PATIENCE", "SILENCE"):
        monkeypatch.setattr(keeper, name, timedelta(0))


def test_interrupted_pipelines_start_again_and_others_do_not(client: SyncPrefectClient) -> None:
    assert state_after(client, Crashed()) == "AwaitingRetry"
    assert state_after(client, Failed(message="Flow run encountered an exception: ConnectError: refused")) == "AwaitingRetry"
    assert state_after(client, Failed(message="Flow run encountered an exception: StorageError: no answer")) == "AwaitingRetry"
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
    keeper.look_after(client, LONG_AGO, claimed_patience=timedelta(0))
    assert client.read_flow_run(run).state_name == "Crashed"
