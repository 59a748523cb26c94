"""A server on the loopback interface, and what a web page of another origin can do to it: nothing."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from hostile_page import REBOUND, Site
from prefect.client.orchestration import SyncPrefectClient
from prefect_database import another_home
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from deployments.state_folder import REPOSITORY
from drill.rehearsal import free_port

pytestmark = [pytest.mark.service, pytest.mark.skipif(sys.platform != "linux", reason="every 127.0.0.x is this machine's on Linux alone")]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HARMLESS = re.compile("refused: |sent$|sent true$|401 |40[03] ")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open a page in")


@dataclass(frozen=True)
class Served:
    """A server on loopback that was given no login."""

    url: str
    link: str
    """What its terminal shows to click on."""
    home: Path

    @property
    def login(self) -> str:
        return (self.home / "login").read_text(encoding="ascii").strip()

    @property
    def auth(self) -> tuple[str, str]:
        user, _, password = self.login.partition(":")
        return user, password

    def made(self) -> dict[str, int]:
        """How many flows, deployments and runs there are."""
        with SyncPrefectClient(f"{self.url}/api", auth_string=self.login) as client:
            names = ("flows", "deployments", "flow_runs")
            return {name: client.request("POST", f"/{name}/count", json={}).json() for name in names}


@pytest.fixture(scope="module")
def served(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = another_home(template, tmp_path_factory.mktemp("open-door") / "home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    environment = kept | {"PREFECT_HOME": str(home), "PREFECT_SERVER_API_PORT": str(free_port()), "BILP_REGISTER": "false"}
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "deployments.server"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=terminal, stderr=subprocess.PIPE, text=True)
    os.close(terminal)
    try:
        with open(ours, encoding="utf-8", closefd=True) as shown:  # noqa: PTH123  # a descriptor
            url = shown.readline().strip()
            assert url.startswith("http"), process.communicate()[1]
            opened = shown.readline() if (home / "login").exists() else ""
            yield Served(url.removesuffix("/api"), opened.removeprefix("open ").partition(" ")[0], home)
    finally:
        process.terminate()
        process.communicate()


def browse(profile: Path, address: str, *options: str) -> subprocess.Popen[str]:
    """Chromium without a window, on its way to an address."""
    assert CHROMIUM is not None
    quiet = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
    ]
    command = [CHROMIUM, *quiet, f"--user-data-dir={profile}", *options, address]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@needs_chromium
def test_a_hostile_page_in_a_browser_reaches_nothing(served: Served, tmp_path: Path) -> None:
    with Site(served.url) as site:
        logs = {}
        for address in (site.page, site.rebound_page):
            site.told.clear()
            browser = browse(tmp_path / "profile", address, f"--proxy-server=http://127.0.0.2:{site.server_port}")
            try:
                assert site.told.wait(120), "the page was not run"
            finally:
                browser.terminate()
                browser.communicate()
            logs[address] = site.log
        site.shutdown()
    told = json.dumps(logs, indent=1)
    (tmp_path / "page.log").write_text(told, encoding="utf-8")
    print(told)
    assert [len(log) for log in logs.values()] == [11, 9], told
    assert [(what, result) for log in logs.values() for what, result in log if not HARMLESS.match(result)] == [], told
    assert served.made() == {"flows": 0, "deployments": 0, "flow_runs": 0}, told


JSON = {"Content-Type": "application/json"}
HOSTILE = {"Origin": "http://127.0.0.2:18080"}
FLOW = json.dumps({"name": "evil"}).encode()


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        (HOSTILE | JSON, FLOW, 403),
        (HOSTILE | {"Content-Type": "text/plain;charset=UTF-8"}, FLOW, 403),
        (HOSTILE, FLOW, 403),
        ({"Origin": "null"} | JSON, FLOW, 403),
        ({"Origin": "http://localhost:{port}"} | JSON, FLOW, 403),  # another host than the one that is asked
        ({"Origin": "http://127.0.0.1"} | JSON, FLOW, 403),
        ({"Origin": "http://127.0.0.1:{port}.evil.example"} | JSON, FLOW, 403),
        ({"Host": REBOUND} | JSON, FLOW, 400),
        ({"Host": f"{REBOUND}:{{port}}", "Origin": f"http://{REBOUND}:{{port}}"} | JSON, FLOW, 400),
        ({"Host": "127.0.0.1.evil.example"} | JSON, FLOW, 400),
        ({"Host": ""} | JSON, FLOW, 400),
        ({"Content-Type": "text/plain"}, FLOW, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, FLOW, 415),
        ({}, FLOW, 415),
        (JSON, FLOW, 403),  # what no client of Prefect sends: without a token against forged requests
    ],
)
def test_requests_of_such_a_page_are_refused_with_and_without_a_login(
    served: Served, headers: dict[str, str], content: bytes, status: int
) -> None:
    port = str(httpx.URL(served.url).port)
    sent = {name: value.replace("{port}", port) for name, value in headers.items()}
    for auth in (None, served.auth):
        answer = httpx.post(f"{served.url}/api/flows/", headers=sent, content=content, auth=auth, timeout=60)
        assert answer.status_code == (401 if auth is None and headers == JSON else status)
        assert "access-control-allow-origin" not in answer.headers
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,authorization"}
    asked = httpx.options(f"{served.url}/api/flows/", headers=HOSTILE | preflight, timeout=60)
    assert (asked.status_code, asked.headers.get("access-control-allow-origin")) == (403, None)
    assert served.made()["flows"] == 0


@pytest.mark.parametrize("headers", [{}, HOSTILE, {"Host": REBOUND}])
@pytest.mark.parametrize(
    "path", ["/api/admin/version", "/api/flows/", "/docs", "/redoc", "/openapi.json", "/api/docs", "/api/openapi.json"]
)
def test_nothing_can_be_read(served: Served, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{served.url}{path}", headers=headers, timeout=60)
    assert answer.status_code in (400, 401, 403, 404)
    assert "3.8" not in answer.text


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out", "/task_runs/subscriptions/scheduled"])
def test_no_web_socket_opens(served: Served, path: str) -> None:
    url = f"{served.url}/api{path}".replace("http", "ws", 1)
    login = json.dumps({"type": "auth", "token": served.login})
    for headers in (HOSTILE, {"Origin": "null"}):
        with pytest.raises(InvalidHandshake):
            connect(url, additional_headers=headers, subprotocols=["prefect"], proxy=None).close()  # type: ignore[list-item]
    elsewhere = url.replace("127.0.0.1", REBOUND)
    port = httpx.URL(url).port
    with pytest.raises(InvalidHandshake), socket.create_connection(("127.0.0.1", port)) as connection:
        connect(elsewhere, sock=connection, subprotocols=["prefect"]).close()  # type: ignore[list-item]
    for message in (
        '{"type": "auth", "token": null}',
        '{"type": "auth", "token": "b\u00e4d"}',
        '{"type": "auth", "token": 7}',
        "[]",
        "no",
        b"\0",
    ):
        assert closed(url, message) == 1008, message
    assert closed(url.replace("127.0.0.1", "localhost"), login, '{"type": "filter"}') != 1008, "the login lets in"


def closed(url: str, *messages: str | bytes) -> int | None:
    """The code with which a web socket is closed after these messages, None if it stays open."""
    with connect(url, subprotocols=["prefect"], proxy=None) as opened:  # type: ignore[list-item]
        for message in messages:
            opened.send(message)
        try:
            opened.recv(timeout=60)
        except ConnectionClosed as error:
            assert error.rcvd is not None
            return error.rcvd.code
    return None


def test_a_password_in_other_letters_is_a_wrong_one(served: Served) -> None:
    for auth in (("bilp", "p\u00e4ssword"), ("bilp", "wrong"), ("\u00fc", ""), ("", "")):
        assert httpx.get(f"{served.url}/api/admin/version", auth=httpx.BasicAuth(*auth), timeout=60).status_code == 401
    for header in ("Basic", "Basic ***", "Bearer x", "Basic \u00e4".encode("latin-1"), ""):
        given = {b"Authorization": header.encode() if isinstance(header, str) else header}
        assert httpx.get(f"{served.url}/api/admin/version", headers=given, timeout=60).status_code == 401
    assert httpx.get(f"{served.url}/api/admin/version", auth=served.auth, timeout=60).status_code == 200
    forged = {b"Prefect-Csrf-Token": b"\xe4", b"Prefect-Csrf-Client": b"x", b"Content-Type": b"application/json"}
    assert httpx.post(f"{served.url}/api/flows/", headers=forged, content=FLOW, auth=served.auth, timeout=60).status_code == 403


@needs_chromium
def test_one_click_signs_a_browser_in(served: Served, tmp_path: Path) -> None:
    assert re.fullmatch(re.escape(served.url) + r"/sign-in#[0-9a-f]{32}", served.link)
    seen = browse(tmp_path / "profile", served.link, "--dump-dom", "--virtual-time-budget=20000").communicate(timeout=120)[0]
    assert "Logout" in seen and "Dashboard" in seen, seen
    again = httpx.post(f"{served.url}/sign-in", json={"token": served.link.partition("#")[2]}, timeout=60)
    assert again.status_code == 401, "it was used"
    seen = browse(tmp_path / "profile", served.link, "--dump-dom", "--virtual-time-budget=20000").communicate(timeout=120)[0]
    assert "Logout" in seen and "Dashboard" in seen, "whoever is signed in gets there by a second click"
    stranger = browse(tmp_path / "another", served.link, "--dump-dom", "--virtual-time-budget=20000").communicate(timeout=120)[0]
    assert "used before, or has expired" in stranger and "Dashboard" not in stranger
