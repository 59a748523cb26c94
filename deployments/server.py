"""python -m deployments.server

A Prefect server on this machine: API, UI, scheduler and automations, with everything it keeps in one folder ($PREFECT_HOME).
It listens on 127.0.0.1:4200 unless PREFECT_SERVER_API_HOST and PREFECT_SERVER_API_PORT say otherwise; for any other address it
insists on PREFECT_SERVER_API_AUTH_STRING (user:password). On PostgreSQL with PREFECT_SERVER_DATABASE_CONNECTION_URL.
Once it answers, work pools, queues, deployments and automations are brought up to date (`deployments.register`), and pipelines whose
process died are started again (`deployments.keeper`).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bilp import ending
from bilp.errors import ConfigError
from deployments.state_folder import settle
from flows.loopback import is_loopback

AUTHENTICATION = "PREFECT_SERVER_API_AUTH_STRING"
NO_AUTHENTICATION = ending.MISUSED
PROGRAM = "python -m deployments.server"


def refusal(environment: Mapping[str, str], host: str) -> str | None:
    """Why a server may not listen on `host`, or None if it may."""
    if is_loopback(host) or environment.get(AUTHENTICATION):
        return None
    return (
        f"{host} can be reached from other machines, and who reaches this server can run code on its workers: "
        f"set {AUTHENTICATION}=user:password (and PREFECT_API_AUTH_STRING to the same for clients), or listen on 127.0.0.1"
    )


def serve(host: str, port: int, home: Path) -> None:
    """Be the server until a signal ends it. Raises BilpError if it cannot start."""
    from prefect.server.api.server import create_app

    from flows import prefect_home, starting
    from flows.local_server import unhurried_database

    registration = []  # holds the pipe that ends the keeper with this process

    def announce(port: int) -> None:
        with contextlib.suppress(OSError):  # nobody need read it
            sys.stdout.write(f"http://{host}:{port}/api\n")
            sys.stdout.flush()
        registration.append(_register(f"http://{_reachable(host)}:{port}/api"))

    prefect_home.check(home)
    with starting.listening(host, port) as listener, unhurried_database():
        starting.Server(create_app(final=True), "warning", home, announce).run([listener])


def port_of(environment: Mapping[str, str]) -> int:
    """The port to listen on, 4200 unless PREFECT_SERVER_API_PORT says otherwise; 0 means any that is free. Raises ConfigError."""
    given = environment.get("PREFECT_SERVER_API_PORT", "4200")
    if not (given.isascii() and given.isdigit() and int(given) < 1 << 16):
        raise ConfigError(f"PREFECT_SERVER_API_PORT = {given!r} is no port: use a number from 1 to 65535")
    return int(given)


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
    home = settle(os.environ)
    os.environ.pop("PREFECT_API_URL", None)  # this is the server; it asks nobody
    host = os.environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1")
    reason = refusal(os.environ, host)
    if reason:
        ending.fail(PROGRAM, [reason], NO_AUTHENTICATION)
    serve(host, port_of(os.environ), home)


if __name__ == "__main__":
    with ending.one_line(PROGRAM, "serving"):
        main()
