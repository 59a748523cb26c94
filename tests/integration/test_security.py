"""Who may reach the server, and where secrets may not turn up."""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
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


def modes(folder: Path) -> set[tuple[bool, int]]:
    """Whether a folder, and permissions, of everything below and of the folder itself."""
    found = [path.stat(follow_symlinks=False).st_mode for path in (folder, *folder.rglob("*"))]
    return {(stat.S_ISDIR(mode), stat.S_IMODE(mode)) for mode in found}


def test_a_service_writes_for_its_user_alone_and_its_runs_as_their_worker_was_told(service: Service, tmp_path: Path) -> None:
    umask = os.umask(0o022)
    os.umask(umask)
    store = tmp_path / "store"
    run = service.submit("ingest/ingest", {"config": {"source": "digits"}, "root": str(store)})
    assert service.ended(run).state_name == "Completed", service.logs()
    assert modes(Path(service.environment["PREFECT_HOME"])) <= {(True, 0o700), (False, 0o600)}
    assert modes(store) == {(True, 0o777 & ~umask), (False, 0o666 & ~umask)}


def test_a_command_on_this_machine_finds_the_login_in_the_folder_of_the_server(service: Service, tmp_path: Path) -> None:
    """And one that knows another folder is told what to do; nobody sends the login to another address."""
    command = [sys.executable, "-m", "flows.ingest", "--dataset", "digits"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API_AUTH")}
    kept |= {"PREFECT_API_URL": service.environment["PREFECT_API_URL"], "BILP_STORAGE": str(tmp_path / "store")}
    known = kept | {"PREFECT_HOME": service.environment["PREFECT_HOME"]}
    before = len(service.runs())
    done = subprocess.run(command, cwd=REPOSITORY, env=known, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(service.runs()) == before + 1
    unknown = kept | {"PREFECT_HOME": str(tmp_path / "elsewhere")}
    refused = subprocess.run(command, cwd=REPOSITORY, env=unknown, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "does not let this client in: set PREFECT_API_AUTH_STRING" in line and "the file login in its folder" in line


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
