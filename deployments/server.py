"""python -m deployments.server

A Prefect server on this machine: API, UI, scheduler and automations, with everything it keeps in one folder ($PREFECT_HOME).
It listens on 127.0.0.1:4200 unless PREFECT_SERVER_API_HOST and PREFECT_SERVER_API_PORT say otherwise; for any other address it
insists on PREFECT_SERVER_API_AUTH_STRING (user:password). On PostgreSQL with PREFECT_SERVER_DATABASE_CONNECTION_URL.
Once it answers, work pools, queues, deployments and automations are brought up to date (`deployments.register`), and pipelines whose
process died are started again (`deployments.keeper`).
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import flows  # noqa: F401  # settles how threads wait, before torch is imported anywhere
from deployments.state_folder import settle

AUTHENTICATION = "PREFECT_SERVER_API_AUTH_STRING"
NO_AUTHENTICATION = 2


def refusal(environment: Mapping[str, str], host: str) -> str | None:
    """Why a server may not listen on `host`, or None if it may."""
    if is_loopback(host) or environment.get(AUTHENTICATION):
        return None
    return (
        f"{host} can be reached from other machines, and who reaches this server can run code on its workers: "
        f"set {AUTHENTICATION}=user:password (and PREFECT_API_AUTH_STRING to the same for clients), or listen on 127.0.0.1"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(host: str, port: int) -> None:
    """Be the server until a signal ends it."""
    import uvicorn
    from prefect.server.api.server import create_app

    from flows.local_server import one_at_a_time, unhurried_database

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
            with one_at_a_time(Path(os.environ["PREFECT_HOME"]) / "local-server.lock"):
                await super().startup(None)
            if self.started:
                bound = self.servers[0].sockets[0].getsockname()[1]
                sys.stdout.write(f"http://{host}:{bound}/api\n")
                sys.stdout.flush()
                self.registration = _register(f"http://{_reachable(host)}:{bound}/api")

    with unhurried_database():
        Announcing(uvicorn.Config(create_app(final=True), host=host, port=port, log_level="warning", lifespan="on")).run()


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host


def _register(url: str) -> subprocess.Popen[bytes] | None:
    """Register everything and look after pipelines in a process of its own, unless BILP_REGISTER=false."""
    if os.environ.get("BILP_REGISTER", "true").lower() in ("false", "0", "no"):
        return None
    environment = os.environ | {"PREFECT_API_URL": url}
    if AUTHENTICATION in os.environ:
        environment.setdefault("PREFECT_API_AUTH_STRING", os.environ[AUTHENTICATION])
    return subprocess.Popen([sys.executable, "-m", "deployments.keeper"], env=environment, stdin=subprocess.PIPE)


def main() -> None:
    settle(os.environ)
    os.environ.pop("PREFECT_API_URL", None)  # this is the server; it asks nobody
    host = os.environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1")
    reason = refusal(os.environ, host)
    if reason:
        sys.stderr.write(f"python -m deployments.server: error: {reason}\n")
        sys.exit(NO_AUTHENTICATION)
    serve(host, int(os.environ.get("PREFECT_SERVER_API_PORT", "4200")))


if __name__ == "__main__":
    main()
