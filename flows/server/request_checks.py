"""What a Prefect server of ours refuses before Prefect sees it: requests for another host, from pages of another origin, and bodies that
are not declared as JSON.

A browser sends a page's requests to any address that its user can reach, a server on the loopback interface included. What tells them
apart are the headers that a page cannot choose: Host (a name that was pointed at this machine is not one of the server's), Origin (the
page's own) and, without a preflight request that the server would have to grant, a Content-Type other than JSON.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import socket
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bilp.errors import ConfigError
from flows.server.configured import ALLOWED_HOSTS
from flows.server.loopback import HOSTS, is_loopback

ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
API_PATH = "/api"
PROBES = frozenset({f"{API_PATH}/health", f"{API_PATH}/ready"})
DOCUMENTATION = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""Prefect serves these to anybody; the interface is described on its web site."""


def settings(origin: str) -> dict[str, str]:
    """Prefect's own settings that belong to these checks, for a server that is reached at `origin`."""
    return {
        ORIGINS: origin,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_UI_API_URL": API_PATH,  # the UI asks whatever host its page came from
    }


def settle(environment: MutableMapping[str, str], origin: str) -> None:
    """Complete Prefect's settings where nothing is set. Raises ConfigError if every origin is let in."""
    for name, value in settings(origin).items():
        environment.setdefault(name, value)
    if "*" in environment[ORIGINS]:
        raise ConfigError(f"{ORIGINS} = * lets every web page that a user visits reach this server: name the origins, or unset it")


@dataclass(frozen=True)
class Hosts:
    """The names by which a server may be called."""

    names: frozenset[str]
    addresses: bool
    """Whether any IP address will do: no other page's name can be pointed at one."""

    def know(self, host: str | None) -> bool:
        """Whether `host` is one of them."""
        return host is not None and (host in self.names or (self.addresses and _is_address(host)))


def hosts(host: str, environment: Mapping[str, str]) -> Hosts:
    """Names of a server that listens on `host`: this machine's, and those of BILP_ALLOWED_HOSTS. Raises ConfigError."""
    more = [part.strip().lower() for part in environment.get(ALLOWED_HOSTS, "").split(",") if part.strip()]
    for name in more:
        if _host_of(name) != name.strip("[]"):
            raise ConfigError(f"{ALLOWED_HOSTS}: {name!r} is no host name: use names such as gpu.example.org, separated by commas")
    here = {*HOSTS, host.lower(), *(name.strip("[]") for name in more)}
    if is_loopback(host):
        return Hosts(frozenset(here), addresses=False)
    return Hosts(frozenset({*here, socket.gethostname().lower()}), addresses=True)


class RequestChecks:
    """An ASGI application in front of Prefect's."""

    def __init__(self, app: ASGIApp, allowed: Hosts, origins: Collection[str] = (), login: str | None = None) -> None:
        self.app, self.allowed, self.origins, self.login = app, allowed, frozenset(origins), login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            status, why = refused
            await JSONResponse({"exception_message": why}, status)(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await self.app(scope, _with_a_proper_login(receive, send), send)
        else:
            await self.app(scope, receive, _unframed(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, or None for what Prefect may see."""
        headers = Headers(scope=scope)
        called = headers.getlist("host")
        if len(called) != 1 or not self.allowed.know(_host_of(called[0])):
            return 400, f"this server does not answer to the name in the Host header: use one of its own, or add it to {ALLOWED_HOSTS}"
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins and origin.partition("://")[2].lower() != called[0].lower():
            return 403, "this server answers no pages of another origin"
        if scope["path"] in DOCUMENTATION:
            return 404, "Not Found"
        if _has_body(headers) and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "this server takes application/json only"
        if scope["type"] == "http" and scope["path"].startswith(f"{API_PATH}/") and not self._lets_in(scope, headers):
            return 401, "Unauthorized"
        if not headers.get("prefect-csrf-token", "").isascii():
            return 403, "Invalid CSRF token or client identifier."
        return None

    def _lets_in(self, scope: Scope, headers: Headers) -> bool:
        """Prefect asks for the login too, but for its token against forged requests before, and it cannot compare all letters."""
        if self.login is None or (scope["method"] == "GET" and scope["path"] in PROBES):
            return True
        if scope["method"] == "OPTIONS":  # a browser asks so, without a login, for an origin that may ask; Prefect answers nothing else
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        try:
            return scheme == "Basic" and hmac.compare_digest(base64.b64decode(given), self.login.encode())
        except (binascii.Error, ValueError):
            return False


def _host_of(header: str) -> str | None:
    """The host, in lower case and without brackets, of what a Host header holds."""
    try:
        parts = urlsplit(f"//{header}")
        return parts.hostname if (parts.port is None or parts.port) and parts.netloc == header and "@" not in header else None
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _unframed(send: Send) -> Send:
    """Tell browsers to show no page of this server inside of another one, where a click may be meant for something else."""

    async def told(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            MutableHeaders(scope=message)["X-Frame-Options"] = "DENY"
        await send(message)

    return told


def _with_a_proper_login(receive: Receive, send: Send) -> Receive:
    """Close a web socket whose first message is not the one that Prefect can read a login from."""
    first = True

    async def checked() -> Message:
        nonlocal first
        message = await receive()
        if message["type"] == "websocket.receive" and first:
            first = False
            if not _is_login(message.get("text")):
                await send({"type": "websocket.close", "code": 1008, "reason": "Expected 'auth' message"})
                return {"type": "websocket.disconnect", "code": 1008}
        return message

    return checked


def _is_login(text: str | None) -> bool:
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        return False
    token = content.get("token") if isinstance(content, dict) else 0
    return token is None or (isinstance(token, str) and token.isascii())
