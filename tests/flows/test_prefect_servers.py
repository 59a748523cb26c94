"""Prefect servers that are away, refuse, cannot start or lie behind a proxy: each is one line with what to do."""

from __future__ import annotations

import http.server
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)
from prefect_database import NAME, another_home
from tiny_pipeline import REPOSITORY

from bilp.errors import BilpError
from deployments.server import port_of
from flows.local import server as local_server
from flows.server import configured, loopback, starting
from flows.server import home as prefect_home

pytestmark = pytest.mark.slow

PROXIED = {"http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9"}


class Web(http.server.BaseHTTPRequestHandler):
    """Answers as a web server that is no Prefect API, or that wants a password."""

    def do_GET(self) -> None:
        status, content = (401, b"{}") if self.path.startswith("/locked") else (200, b"<html>")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{unused}/api", "does not answer .*: start it .bilp server.*PREFECT_API_URL"),
        ("127.0.0.1:4200/api", "begins with neither http"),
        ("{web}/api", "is no Prefect API: its address ends with /api"),
        ("{web}/locked", "set PREFECT_API_AUTH_STRING to what PREFECT_SERVER_API_AUTH_STRING is there"),
    ],
)
def test_a_server_that_does_not_serve_is_told_before_a_flow_begins(
    url: str, reason: str, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.ingest import ingest

    url = url.format(unused=unused_port(), web=web)
    monkeypatch.setenv("PREFECT_API_URL", url)
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(BilpError, match=reason) as caught:
        ingest({"source": "digits"})
    assert "\n" not in str(caught.value)


def test_a_server_of_the_active_profile_is_changed_by_prefect_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    url = f"http://127.0.0.1:{unused_port()}/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(BilpError, match=r"of the active Prefect profile.* prefect profile use"):
        configured.check(url)


def test_passwords_in_the_address_are_not_printed() -> None:
    url = f"http://name:hunter2@127.0.0.1:{unused_port()}/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(BilpError) as caught:
        configured.check(url)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_nobody_may_start_is_told() -> None:
    without = temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}, restore_defaults={PREFECT_API_URL})
    with (
        without,
        pytest.raises(BilpError, match="PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=false forbids.*PREFECT_API_URL"),
        local_server.reachable(),
    ):
        pass


def test_a_home_that_cannot_be_written_is_told_before_a_server_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file" / "home", Path("/proc/home"), tmp_path / "file"):
        changed = temporary_settings({PREFECT_HOME: home}, restore_defaults={PREFECT_API_URL})
        with changed, pytest.raises(BilpError, match="set PREFECT_HOME to a folder where this user may write"), local_server.reachable():
            pass
    prefect_home.check(tmp_path / "new" / "home")


def test_a_database_of_a_newer_prefect_is_named(template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = another_home(template, tmp_path / "home")
    with closing(sqlite3.connect(home / NAME)) as connection:
        connection.execute("update alembic_version set version_num = 'abcdef123456'")
        connection.commit()
    with pytest.raises(BilpError, match="made by a newer version of Prefect: update Prefect, or set PREFECT_HOME") as caught:
        local_server.start(os.environ | {"PREFECT_HOME": str(home)})
    assert str(home) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("log", "meaning"),
    [
        ("sqlite3.DatabaseError: file is not a database", "its database is damaged"),
        ("sqlalchemy.exc.OperationalError: attempt to write a readonly database", "cannot be written: set PREFECT_HOME"),
        ("sqlite3.OperationalError: database or disk is full", "free some space"),
        ("ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 5432)", "PREFECT_SERVER_DATABASE_CONNECTION_URL"),
    ],
)
def test_other_causes_of_a_failed_start_are_named(log: str, meaning: str, tmp_path: Path) -> None:
    line = starting.why(f"Traceback (most recent call last):\n  File x\n{log}\n\nApplication startup failed. Exiting.\n", tmp_path)
    assert meaning in line
    assert log in line
    assert "\n" not in line


def test_a_home_that_fills_up_is_one_line(template: Path, tmp_path: Path) -> None:
    """The server begins, and cannot go on: files may not become larger than its log of changes soon is."""
    environment = os.environ | {"PREFECT_HOME": str(another_home(template, tmp_path / "home"))}
    done = subprocess.run(
        [sys.executable, "-m", "flows.ingest", "--dataset", "digits"],
        cwd=REPOSITORY,
        env={name: value for name, value in environment.items() if name != "PREFECT_API_URL"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (700 << 10, 700 << 10)),
    )
    assert done.returncode == 1
    *before, line = done.stderr.splitlines()
    assert "database cannot be written, the disk may be full: free some space, or set PREFECT_HOME" in line
    assert len(before) <= 2, done.stderr


def test_passwords_and_proxies_of_the_environment_do_not_come_between_a_program_and_its_own_server(template: Path, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
    kept |= PROXIED | {"PREFECT_SERVER_API_AUTH_STRING": "some:body", "PREFECT_HOME": str(another_home(template, tmp_path / "home"))}
    command = [sys.executable, "-m", "flows.ingest", "--dataset", "digits"]
    done = subprocess.run(command, cwd=REPOSITORY, env=kept, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dataset: ")


@pytest.mark.parametrize(
    ("environment", "spared"),
    [
        ({}, None),
        ({"HTTP_PROXY": ""}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "127.0.0.1,localhost,::1,127.0.0.5"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "intern, localhost"}, "intern,localhost,127.0.0.1,::1,127.0.0.5"),
        ({"ALL_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, None),
    ],
)
def test_this_machine_is_taken_out_of_what_goes_through_a_proxy(environment: dict[str, str], spared: str | None) -> None:
    changed = dict(environment)
    loopback.spare(changed, "http://127.0.0.5:4200/api")
    assert (
        changed == environment
        if spared is None
        else (changed["NO_PROXY"], changed["no_proxy"]) in ((spared, spared), ("*", changed["no_proxy"]))
    )


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        environment = os.environ | {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_API_PORT": port}
        command = [sys.executable, "-m", "deployments.server"]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"python -m deployments.server: error: no server can listen on 127.0.0.1:{port} (Address already in use")
    assert "PREFECT_SERVER_API_PORT" in line


@pytest.mark.parametrize("port", ["", "abc", "-1", "65536", "4200.0"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(BilpError, match="is no port: use a number from 1 to 65535"):
        port_of({"PREFECT_SERVER_API_PORT": port})
    assert port_of({}) == 4200


def test_a_server_of_ours_lets_only_its_own_process_in(prefect_home: Path) -> None:
    import httpx
    from prefect.utilities.urls import url_for

    with local_server.reachable():
        assert url_for("flow-run", obj_id="85b316fb-8ccb-4b72-8bff-942617d30fcb") is None, "no link to pages where nobody can sign in"
        login = PREFECT_API_AUTH_STRING.value()
        url = f"{PREFECT_API_URL.value()}/admin/version"
    assert httpx.get(url).status_code == 401
    name, _, password = str(login).partition(":")
    assert httpx.get(url, auth=(name, password)).status_code == 200
    flows = url.replace("/admin/version", "/flows/")
    wrong = (
        {"Host": "evil.example"},
        {"Origin": "http://127.0.0.2:18080", "Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json"},  # no token against forged requests
    )
    posted = [httpx.post(flows, headers=headers, content=b'{"name": "evil"}', auth=(name, password)) for headers in wrong]
    assert [answer.status_code for answer in posted] == [400, 403, 415, 403]
    assert not [answer for answer in posted if "access-control-allow-origin" in answer.headers]
