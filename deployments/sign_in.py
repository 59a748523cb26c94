"""An address that signs a browser in at Prefect's UI by one click, for whoever reads the server's terminal.

The token of the address lies in its fragment, which a browser keeps to itself: it is in no request line, no log and no Referer header.
The page takes it from there and trades it for the login, which the UI keeps for this origin (in localStorage, as after its own form).
It can be traded once, within MINUTES; a link that somebody merely looks at is not used up by that, and a browser that is signed in
goes on to the UI.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/sign-in"
MINUTES = 10
STORED_AS = "prefect-password"
"""Where both of Prefect's UIs look for the login, in base64."""
MOST = 1000  # bytes of a request

_SCRIPT = """
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
fetch(location.pathname, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({token})})
  .then(answer => answer.ok ? answer.json() : Promise.reject())
  .then(answer => { localStorage.setItem("STORED_AS", answer.login); location.replace("./"); })
  .catch(() => fetch("api/admin/version", {headers: {Authorization: "Basic " + localStorage.getItem("STORED_AS")}})
    .then(answer => answer.ok ? location.replace("./") : Promise.reject()))  // the second click of somebody who is signed in
  .catch(() => { document.getElementById("failed").hidden = false; });
""".replace("STORED_AS", STORED_AS)
_PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Signing in</title></head><body>
<p id="failed" hidden>This address was used before, or has expired. <a href="./">Sign in</a> with what the file <code>login</code> in the
server's folder holds (or with PREFECT_SERVER_API_AUTH_STRING), or start the server again for a new address.</p>
<script>{_SCRIPT}</script></body></html>"""
_POLICY = (
    f"default-src 'none'; connect-src 'self'; script-src 'sha256-{base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}'"
)
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Content-Security-Policy": _POLICY}


class SignIn:
    """An ASGI application that answers PATH and leaves everything else to `app`."""

    def __init__(self, app: ASGIApp, login: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.clock = app, clock
        self._stored = base64.b64encode(login.encode()).decode()
        self._token = ""
        self._end = 0.0

    def address(self, server: str) -> str:
        """A new address at `server`; the one before is void."""
        self._token = secrets.token_hex(16)
        self._end = self.clock() + 60 * MINUTES
        return f"{server}{PATH}#{self._token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        response: Response
        if request.method == "POST":
            response = self._trade(await _body(request))
        elif request.method in ("GET", "HEAD"):
            response = HTMLResponse(_PAGE, headers=_HEADERS)
        else:
            response = JSONResponse({"exception_message": "Method Not Allowed"}, 405)
        await response(scope, receive, send)

    def _trade(self, body: bytes) -> Response:
        """The login for the token, once."""
        try:
            given = json.loads(body)["token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            given = None
        known = isinstance(given, str) and bool(self._token) and hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())
        if not known or self.clock() > self._end:
            return JSONResponse({"exception_message": "Unauthorized"}, 401, _HEADERS)
        self._token = ""
        return JSONResponse({"login": self._stored}, headers=_HEADERS)


async def _body(request: Request) -> bytes:
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST:
            return b""
    return content
