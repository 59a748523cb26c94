"""The reports of a storage, to be read in a browser behind the server's login: `/reports/<key>/`, `/reports/` where there is an index, and
`/reports/comparisons/<key>.html` where several are put side by side; `/reports/arrivals/<key>.html` about new images of data that grow; and
`/reports/studies/<key>/`, `/reports/suspects/<key>/` and `/reports/critical/<key>/`, each with the tables and pictures beside its page.

A page is served below `/reports/<key>/storage/`, as if nothing else lay in that storage: its relative links lead to the files that it
names and to nothing beside them (`bilp.artifacts.served_reports`). Nothing can be written, and folders are not listed.

A browser that follows a link sends no login, which Prefect's UI keeps for this origin (`deployments.sign_in`). It gets a page that trades
that login for a cookie, which opens nothing but reports, and is void when the server ends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bilp.errors import BilpError, DamagedArtifact, ImpossibleUri
from deployments.sign_in import STORED_AS

PATH = "/reports"
COOKIE = "bilp-reports"
HOURS = 12
SECURE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"}
PAGE_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"
"""A page is one file without scripts; what somebody who can write to the storage might put there may not run in the UI's origin."""

_DERIVED = re.compile(r"/(comparisons|arrivals)/[0-9a-f]{16}\.(html|csv)")
_STANDING = re.compile(r"/(studies|suspects|critical)/([0-9a-f]{16})(?:/([^/]*))?")
_KEYED = re.compile(r"/([0-9a-f]{16})(?:/(?P<place>.*))?")

_SCRIPT = """
const login = localStorage.getItem("STORED_AS");
fetch("PATH/", {method: "POST", headers: {Authorization: "Basic " + login}})
  .then(answer => answer.ok ? location.reload() : Promise.reject())
  .catch(() => { document.getElementById("failed").hidden = false; });
""".replace("STORED_AS", STORED_AS).replace("PATH", PATH)
_ASK = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Report</title></head><body>
<p id="failed" hidden>Reports are for whoever is signed in: <a href="/">sign in</a>, then open this address again.</p>
<script>{_SCRIPT}</script></body></html>"""
_ASK_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_ASK_HEADERS = SECURE | {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; connect-src 'self'; script-src 'sha256-{_ASK_HASH}'",
}


class Reports:
    """An ASGI application that answers what lies below PATH and leaves everything else to `app`."""

    def __init__(self, app: ASGIApp, login: str, root: str, clock: Callable[[], float] = time.time) -> None:
        self.app, self.login, self.root, self.clock = app, login, root, clock
        self._secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (scope["path"] == PATH or scope["path"].startswith(f"{PATH}/")):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"].removeprefix(PATH)
        signed_in = self._is_login(request.headers.get("authorization", ""))
        if request.method == "POST" and path == "/":
            return self._trade() if signed_in else _said(401, "Unauthorized")
        if request.method not in ("GET", "HEAD"):
            return _said(405, "Method Not Allowed", Allow="GET, HEAD")
        if not (signed_in or self._is_ours(request.cookies.get(COOKIE, ""))):
            asked = "text/html" in request.headers.get("accept", "")
            return HTMLResponse(_ASK, 401, _ASK_HEADERS) if asked else _said(401, "Unauthorized")
        try:
            return await run_in_threadpool(self._found, request, path)
        except (DamagedArtifact, ImpossibleUri):
            return _said(404, "Not Found")
        except BilpError:
            return _said(503, "The storage of the reports cannot be reached; the server's log may tell more")

    def _found(self, request: Request, path: str) -> Response:
        """What lies at the path, which is decoded already; the library is imported here, because a server starts without it."""
        from bilp.artifacts import report_places as places
        from bilp.artifacts import served_reports as served

        if path in ("/", "/index.html"):
            return _file(request, served.derived_page(self.root, places.INDEX))
        if _DERIVED.fullmatch(path):
            return _file(request, served.derived_page(self.root, f"{places.REPORTS}{path}"))
        standing = _STANDING.fullmatch(path)
        if standing is not None:
            folder, key, name = standing.groups()
            page = served.STANDING[folder][1]
            if name:
                return _file(request, served.standing_page(self.root, folder, key, name))
            known = served.standing_page(self.root, folder, key, page) is not None
            return RedirectResponse(f"{PATH}/{folder}/{key}/{page}", 307, SECURE) if known else _said(404, "Not Found")
        match = _KEYED.fullmatch(path.removeprefix(f"/{places.REPORTS}"))  # pages of studies name reports from the root
        if match is None:
            return _said(404, "Not Found")
        key, place = match[1], match["place"]
        if place in (None, "", places.FILE):
            known = served.page_of(self.root, key) is not None
            return RedirectResponse(_address(key), 307, SECURE) if known else _said(404, "Not Found")
        return self._below(request, key, place.removeprefix("storage/") if place.startswith("storage/") else "")

    def _below(self, request: Request, key: str, place: str) -> Response:
        """What a page sees below the root of its storage: itself, the index, another page's address, and what it links to."""
        from bilp.artifacts import report_places as places
        from bilp.artifacts import served_reports as served

        if place == f"reports/{key}/{places.FILE}":
            return _file(request, served.page_of(self.root, key))
        if place == places.INDEX:
            return RedirectResponse(f"{PATH}/", 307, SECURE)
        other = re.fullmatch(rf"reports/([0-9a-f]{{16}})/{re.escape(places.FILE)}", place)
        if other:
            return RedirectResponse(f"{PATH}/{other[1]}/", 307, SECURE)
        return _file(request, served.linked(self.root, key, place))

    def _is_login(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        try:
            return scheme == "Basic" and hmac.compare_digest(base64.b64decode(given), self.login.encode())
        except (binascii.Error, ValueError):
            return False

    def _trade(self) -> Response:
        """A cookie for the login."""
        response = Response(status_code=204, headers=SECURE | {"Cache-Control": "no-store"})
        end = str(int(self.clock()) + 3600 * HOURS)
        value = f"{end}.{self._signature(end)}"
        response.set_cookie(COOKIE, value, max_age=3600 * HOURS, path=PATH, httponly=True, samesite="strict")
        return response

    def _is_ours(self, cookie: str) -> bool:
        end, _, signature = cookie.partition(".")
        known = hmac.compare_digest(signature.encode("utf-8", "replace"), self._signature(end).encode())
        return known and int(end) > self.clock()

    def _signature(self, end: str) -> str:
        return hmac.new(self._secret, end.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _address(key: str) -> str:
    return f"{PATH}/{key}/storage/reports/{key}/report.html"


def _file(request: Request, shown: object) -> Response:
    """The file, or that the browser has it already."""
    from bilp.artifacts.served_reports import PAGE, Shown

    if not isinstance(shown, Shown):
        return _said(404, "Not Found")
    headers = SECURE | {"ETag": f'"{shown.sha256}"', "Cache-Control": "private, no-cache", "Content-Type": shown.type}
    headers |= {"Content-Security-Policy": PAGE_POLICY} if shown.type == PAGE else {"Content-Disposition": "attachment"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in known:
        return Response(status_code=304, headers=headers)
    return Response(b"" if request.method == "HEAD" else shown.read(), headers=headers)


def _said(status: int, what: str, **headers: str) -> Response:
    return JSONResponse({"exception_message": what}, status, SECURE | {"Cache-Control": "no-store"} | headers)
