"""Who may reach the server, and where secrets may not turn up."""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from import_graph import SOURCES, module_of
from prefect import Flow, Task
from prefect.server.api.server import create_api_app
from prefect_database import another_home
from websockets import Subprotocol
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from bilp.storage.objects import children, join, read
from deployments.server import refusal
from deployments.state_folder import REPOSITORY
from drill.rehearsal import SMALL, Service

pytestmark = [pytest.mark.service, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

LOGIN = "tester:a-password-for-the-test"
ANYWHERE = "0.0.0.0"
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_on_loopback_a_login_is_made_or_one_of_any_length_taken(host: str) -> None:
    assert refusal({}, host) is None
    assert refusal({"PREFECT_SERVER_API_AUTH_STRING": "me:short"}, host) is None


@pytest.mark.parametrize("host", [ANYWHERE, "::", "10.0.0.7", "gpu-box.example.org"])
def test_any_other_address_does(host: str) -> None:
    assert "PREFECT_SERVER_API_AUTH_STRING" in (refusal({}, host) or "")
    assert refusal({"PREFECT_SERVER_API_AUTH_STRING": LOGIN}, host) is None


@pytest.mark.parametrize(
    ("login", "why"),
    [
        ("tester:fourteen-lette", "is too short: .* use 15 letters or more"),
        ("tester:p\u00e4ssword-of-some-length", "not printable ASCII"),
        ("t\u00e9ster:a-password-for-the-test", "not printable ASCII"),
        ("tester:a-password-for-the-test\n", "a line break at its end counts"),
        ("a-password-for-the-test", "is no login: set it to user:password"),
        (":a-password-for-the-test", "is no login"),
        ("a-password-for-the-test:", "is no login"),
    ],
)
def test_a_login_that_cannot_serve_is_refused_without_repeating_it(login: str, why: str) -> None:
    for host in (ANYWHERE, "127.0.0.1"):
        refused = refusal({"PREFECT_SERVER_API_AUTH_STRING": login}, host)
        if host == ANYWHERE or "short" not in why:
            assert refused is not None
            assert re.search(why, refused)
            assert not [part for part in login.split(":") if part.strip() and part.strip() in refused]
        else:
            assert refused is None, "only this machine can try passwords there"


def test_the_program_refuses_to_start_without_one(tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_SERVER_API_HOST": ANYWHERE, "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "deployments.server"]
    refused = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 2
    assert refused.stderr.startswith("python -m deployments.server: error: 0.0.0.0 can be reached from other machines")


def answer(url: str, login: str | None, method: str = "GET") -> int:
    headers = {} if login is None else {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return httpx.request(method, url, headers=headers, timeout=60).status_code


def answers_without_a_login(api: str) -> dict[str, int]:
    """What each route of Prefect's API answers to somebody without one, where that is anything but "unauthorised"."""
    routes = [(path, method) for path, methods in create_api_app().openapi()["paths"].items() for method in methods]
    assert len(routes) > 150
    given = {f"{method} {path}": answer(api + re.sub(r"{.*?}", NOBODY, path), None, method.upper()) for path, method in routes}
    return {route: status for route, status in given.items() if status != 401}


def closed_by(api: str, path: str, *messages: dict[str, str]) -> int:
    """The code with which a web socket is closed after these messages."""
    with connect(f"{api}{path}".replace("http", "ws", 1), subprotocols=[Subprotocol("prefect")]) as socket:
        for message in messages:
            socket.send(json.dumps(message))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


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
        assert answers_without_a_login(api) == {"get /health": 200, "get /ready": 200}, "probes alone, which tell nothing"
        for path in ("/events/in", "/events/out", "/logs/out", "/task_runs/subscriptions/scheduled"):
            with pytest.raises(InvalidHandshake):
                connect(f"{api}{path}".replace("http", "ws", 1)).close()
            for message in ({"type": "auth"}, {"type": "auth", "token": "tester:wrong"}, {"type": "subscribe"}):
                assert closed_by(api, path, message) == 1008, "policy violation"
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
    modules = [importlib.import_module(module_of(name)) for name in SOURCES if name.startswith(("flows/", "tasks/"))]
    made = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Flow | Task)}
    assert len(made) > 20
    assert [value.name for value in made.values() if value.persist_result is not False] == []
