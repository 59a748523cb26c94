"""What a server of ours lets through to Prefect, and the address that signs a browser in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from bilp.errors import ConfigError
from deployments.sign_in import MINUTES, SignIn
from flows.server import request_checks

pytestmark = pytest.mark.slow

PREFECT = PlainTextResponse("let in")


def answers(app: Any, *requests: dict[str, Any]) -> list[httpx.Response]:
    """What an ASGI application answers to these, one after the other."""

    async def all_of_them() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:4200") as client:
            return [await client.request(**request) for request in requests]

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(
    ("listens", "more", "called", "status"),
    [
        ("127.0.0.1", "", "127.0.0.1:4200", 200),
        ("127.0.0.1", "", "LOCALHOST:8080", 200),  # through a tunnel
        ("127.0.0.1", "", "[::1]:4200", 200),
        ("127.0.0.1", "", "10.0.0.7:4200", 400),
        ("127.0.0.1", "", "127.0.0.2", 400),
        ("127.0.0.1", "", "localhost.evil.example", 400),
        ("127.0.0.1", "", "evil.example@127.0.0.1", 400),
        ("127.0.0.1", "", "127.0.0.1:80:80", 400),
        ("127.0.0.1", "", "127.0.0.1/evil", 400),
        ("127.0.0.1", "", "[::1", 400),
        ("127.0.0.1", "", "", 400),
        ("127.0.0.9", "", "127.0.0.9:4200", 200),
        ("127.0.0.1", "gpu.example.org, other", "gpu.example.org", 200),
        ("127.0.0.1", "gpu.example.org, other", "OTHER:4200", 200),
        ("127.0.0.1", "gpu.example.org", "evil.gpu.example.org", 400),
        ("0.0.0.0", "", "10.0.0.7:4200", 200),
        ("0.0.0.0", "", "[fe80::1]", 200),
        ("0.0.0.0", "", "evil.example", 400),
        ("gpu-box", "", "gpu-box:4200", 200),
    ],
)
def test_a_server_answers_to_its_own_names(listens: str, more: str, called: str, status: int) -> None:
    checks = request_checks.RequestChecks(PREFECT, request_checks.hosts(listens, {"BILP_ALLOWED_HOSTS": more}))
    (answer,) = answers(checks, {"method": "GET", "url": "/api/flows", "headers": {"Host": called}})
    assert answer.status_code == status
    assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("names", ["*", "http://gpu.example.org", "a/b", "user@host", "gpu.example.org:4200"])
def test_what_is_no_host_name_is_refused(names: str) -> None:
    if names == "*":
        assert not request_checks.hosts("127.0.0.1", {"BILP_ALLOWED_HOSTS": names}).know("evil.example")
        return
    with pytest.raises(ConfigError, match="is no host name"):
        request_checks.hosts("127.0.0.1", {"BILP_ALLOWED_HOSTS": names})


def test_other_origins_have_to_be_named() -> None:
    checks = request_checks.RequestChecks(PREFECT, request_checks.hosts("127.0.0.1", {}), ["https://bilp.example.org"])
    asked = (
        {"method": "GET", "url": "/", "headers": {"Origin": origin}} for origin in ("https://bilp.example.org", "https://bilp.example")
    )
    assert [answer.status_code for answer in answers(checks, *asked)] == [200, 403]
    origins = ("http://[", "null", "", "127.0.0.1:4200", "http://127.0.0.1:4200/", "http://127.0.0.1:4200@evil.example")
    wrong = ({"method": "POST", "url": "/", "headers": {"Origin": origin}} for origin in origins)
    assert {answer.status_code for answer in answers(checks, *wrong)} == {403}
    locked = request_checks.RequestChecks(PREFECT, request_checks.hosts("127.0.0.1", {}), ["https://bilp.example.org"], "bilp:password")
    methods = ("OPTIONS", "GET", "POST")
    asked = ({"method": method, "url": "/api/flows", "headers": {"Origin": "https://bilp.example.org"}} for method in methods)
    assert [answer.status_code for answer in answers(locked, *asked)] == [200, 401, 401], "a preflight request carries no login"
    environment = {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "*"}
    with pytest.raises(ConfigError, match="name the origins"):
        request_checks.settle(environment, "http://127.0.0.1:4200")
    environment = {"PREFECT_UI_API_URL": "https://bilp.example.org/api"}
    request_checks.settle(environment, "http://127.0.0.1:4200")
    assert environment == request_checks.settings("http://127.0.0.1:4200") | {"PREFECT_UI_API_URL": "https://bilp.example.org/api"}


def test_bodies_are_json_or_empty() -> None:
    checks = request_checks.RequestChecks(PREFECT, request_checks.hosts("127.0.0.1", {}))
    kinds = ("application/json", "Application/JSON; charset=utf-8", "text/plain", "application/jsonp", "")
    sent = [{"method": "POST", "url": "/", "headers": {"Content-Type": kind}, "content": b"{}"} for kind in kinds]
    sent += [{"method": "POST", "url": "/"}, {"method": "POST", "url": "/", "content": iter([b"{}"])}]
    sent[-1]["content"] = _chunks()
    assert [answer.status_code for answer in answers(checks, *sent)] == [200, 200, 415, 415, 415, 200, 415]


async def _chunks() -> Any:
    yield b"{}"


def test_an_address_to_sign_in_is_good_once_and_for_a_while() -> None:
    now = [0.0]
    signing = SignIn(PREFECT, "bilp:password", lambda: now[0])
    old = signing.address("http://127.0.0.1:4200").partition("#")[2]
    address, _, token = signing.address("http://127.0.0.1:4200").partition("#")
    assert address == "http://127.0.0.1:4200/sign-in"

    def trade(content: object) -> dict[str, Any]:
        return {"method": "POST", "url": "/sign-in", "content": json.dumps(content)}

    page, other = answers(signing, {"method": "GET", "url": "/sign-in"}, {"method": "GET", "url": "/"})
    assert other.text == "let in"
    assert token not in page.text and page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for wrong in (
        {"token": old},
        {"token": ""},
        {"token": None},
        {"token": [token]},
        {"token": "\u00e4\ud800"},
        {},
        [],
        "x",
        {"token": "x" * 2000},
    ):
        (refused,) = answers(signing, trade(wrong))
        assert (refused.status_code, "login" in refused.json()) == (401, False), wrong
    assert answers(signing, {"method": "DELETE", "url": "/sign-in"})[0].status_code == 405
    first, second = answers(signing, trade({"token": token}), trade({"token": token}))
    assert first.json() == {"login": "YmlscDpwYXNzd29yZA=="}
    assert first.headers["Cache-Control"] == "no-store"
    assert second.status_code == 401
    late = signing.address("http://127.0.0.1:4200").partition("#")[2]
    now[0] += 60 * MINUTES + 1
    assert answers(signing, trade({"token": late}))[0].status_code == 401
