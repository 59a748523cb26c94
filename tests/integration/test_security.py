"""Who may reach the server, and where secrets may not turn up."""

from __future__ import annotations

import base64
import importlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prefect import Flow, Task
from prefect_database import another_home

from bilp.storage import children, join, read
from deployments.rehearsal import SMALL, Service
from deployments.server import refusal
from deployments.state_folder import REPOSITORY

pytestmark = [pytest.mark.service, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

LOGIN = "tester:a-password-for-the-test"
ANYWHERE = "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_no_password(host: str) -> None:
    assert refusal({}, host) is None


@pytest.mark.parametrize("host", [ANYWHERE, "::", "10.0.0.7", "gpu-box.example.org"])
def test_any_other_address_does(host: str) -> None:
    assert "PREFECT_SERVER_API_AUTH_STRING" in (refusal({}, host) or "")
    assert refusal({"PREFECT_SERVER_API_AUTH_STRING": LOGIN}, host) is None


def test_the_program_refuses_to_start_without_one(tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_SERVER_API_HOST": ANYWHERE, "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "deployments.server"]
    refused = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 2
    assert refused.stderr.startswith("python -m deployments.server: error: 0.0.0.0 can be reached from other machines")


def answer(url: str, login: str | None) -> int:
    headers = {} if login is None else {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.s3
def test_a_run_behind_a_password_on_s3_tells_no_secret(s3_root: str, tmp_path: Path, template: Path) -> None:
    """A server with a password, workers that know it and share the classes, results in S3: no password and no S3 secret appears."""
    folder = tmp_path / "service"
    another_home(template, folder / "home")
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    assert secret
    service = Service(
        folder, s3_root, PREFECT_SERVER_API_HOST=ANYWHERE, PREFECT_SERVER_API_AUTH_STRING=LOGIN, PREFECT_API_AUTH_STRING=LOGIN
    )
    config = SMALL | {"arms": ["unpruned"], "evaluate": {**SMALL["evaluate"], "baselines": []}}
    config["distill"] = {**SMALL["distill"], "shards": 2}
    try:
        service.start_server()
        api = service.environment["PREFECT_API_URL"]
        assert [answer(f"{api}/version", login) for login in (None, "tester:wrong", LOGIN)] == [401, 401, 200]
        service.start_workers()
        run = service.submit("pipeline/digits", {"config": config})
        assert service.ended(run).state_name == "Completed", service.logs()
        with service.client() as client:
            recorded = client.read_flow_run(run)
        shards = {run.name: run.work_pool_name for run in service.runs("distill unpruned shard")}
    finally:
        service.stop()
    assert recorded.parameters["config"] == config
    assert shards == {"distill unpruned shard 1/2": "gpu", "distill unpruned shard 2/2": "gpu"}
    texts = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts}
    assert any(path.name == "prefect.db" for path in texts)
    texts |= {Path(uri): read(uri) for uri in everything_below(s3_root)}
    assert not (folder / "home" / "storage").exists(), "Prefect keeps no results"
    assert len(texts) > 20
    for needle in (secret, LOGIN.partition(":")[2], base64.b64encode(LOGIN.encode()).decode()):
        assert [str(path) for path, content in texts.items() if needle.encode() in content] == []


def everything_below(uri: str) -> list[str]:
    names = children(uri)
    return [below for name in names for below in everything_below(join(uri, name))] or [uri]


def test_nothing_that_prefect_could_unpickle_lies_in_the_storage() -> None:
    """Every flow and task keeps its results out of Prefect's result storage, where a record names its own serializer."""
    names = [f"{room}.{path.stem}" for room in ("flows", "tasks") for path in (REPOSITORY / room).glob("*.py") if path.stem != "__init__"]
    modules = [importlib.import_module(name) for name in names]
    made = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Flow | Task)}
    assert len(made) > 20
    assert [value.name for value in made.values() if value.persist_result is not False] == []
