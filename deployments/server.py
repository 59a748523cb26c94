"""python -m deployments.server

A Prefect server on this machine: API, UI and scheduler, with everything it keeps in one folder ($PREFECT_HOME).
It listens on 127.0.0.1:4200 unless PREFECT_SERVER_API_HOST and PREFECT_SERVER_API_PORT say otherwise. There it makes a login at its
first start and keeps it in that folder; PREFECT_SERVER_API_AUTH_STRING (user:password) sets another one, and any other address insists
on that. It answers to its own names (BILP_ALLOWED_HOSTS adds some) and to no page of another origin. Reports of $BILP_STORAGE are at
/reports/<key>/. On PostgreSQL with PREFECT_SERVER_DATABASE_CONNECTION_URL.
Once it answers, work pools, queues and deployments are brought up to date (`deployments.register`), and pipelines whose
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
from bilp.storage.objects import storage_root
from deployments import repository
from deployments.reports import Reports
from deployments.sign_in import MINUTES, SignIn
from deployments.state_folder import settle
from flows.server import home as prefect_home
from flows.server import login as server_login
from flows.server.loopback import is_loopback

AUTHENTICATION = "PREFECT_SERVER_API_AUTH_STRING"
NO_AUTHENTICATION = ending.MISUSED
PROGRAM = "python -m deployments.server"
LATE = "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS"
LATE_SECONDS = "3600"
"""Units wait in a queue for a free GPU, which is no fault: Prefect would call them late, in orange, after 15 seconds."""
SHORTEST = 15
"""Letters of a password that other machines can try. Nothing slows them down, and NIST SP 800-63B asks this of a password that nothing
else comes with."""


def refusal(environment: Mapping[str, str], host: str) -> str | None:
    """Why a server may not listen on `host` with this login, or None if it may."""
    login = environment.get(AUTHENTICATION)
    if login:
        return _objection(login, host)
    if is_loopback(host):
        return None
    return (
        f"{host} can be reached from other machines, and who reaches this server can run code on its workers: "
        f"set {AUTHENTICATION}=user:password (and PREFECT_API_AUTH_STRING to the same for clients), or listen on 127.0.0.1"
    )


def _objection(login: str, host: str) -> str | None:
    """What is wrong with a login, which is not repeated."""
    user, _, password = login.partition(":")
    if not (user and password):
        return f"{AUTHENTICATION} is no login: set it to user:password"
    if not (login.isascii() and login.isprintable()):
        return (
            f"{AUTHENTICATION} holds letters that are not printable ASCII, which Prefect cannot compare (a line break at its end counts): "
            "use others"
        )
    if not is_loopback(host) and len(password) < SHORTEST:
        return (
            f"the password in {AUTHENTICATION} is too short: {host} can be reached from other machines, and nothing slows down who tries "
            f"passwords there; use {SHORTEST} letters or more"
        )
    return None


def serve(host: str, port: int, home: Path) -> None:
    """Be the server until a signal ends it. Raises BilpError if it cannot start."""
    from prefect.context import refresh_global_settings_context
    from prefect.server.api.server import create_app

    from flows.local.server import unhurried_database
    from flows.server import request_checks, starting

    root = storage_root()  # as workers of this machine have it: reports are read from there
    registration = []  # holds the pipe that ends the keeper with this process
    with starting.listening(host, port) as listener:
        own = _address(host, listener.getsockname()[1])
        request_checks.settle(os.environ, own)
        login, file = _login(home, own)
        os.environ[AUTHENTICATION] = login
        refresh_global_settings_context()
        with unhurried_database():
            sign_in = SignIn(Reports(create_app(final=True), login, root), login)
            origins = os.environ[request_checks.ORIGINS].split(",")
            checks = request_checks.RequestChecks(sign_in, request_checks.hosts(host, os.environ), origins, login)

            def announce(_: int) -> None:
                with contextlib.suppress(OSError):  # nobody need read it
                    sys.stdout.write(f"{own}/api\n{_how_to_sign_in(sign_in, own, file)}\n")
                    sys.stdout.flush()
                registration.append(_register(f"{own}/api", login))

            starting.Server(checks, "warning", home, announce, _complain).run([listener])


def _complain(why: str) -> None:
    with contextlib.suppress(OSError):  # the log's disk may be the full one
        sys.stderr.write(f"{PROGRAM}: error: {why}\n")
        sys.stderr.flush()


def _login(home: Path, own: str) -> tuple[str, Path | None]:
    """The login that was given, or else the one that the folder keeps, with its file there."""
    given = os.environ.get(AUTHENTICATION)
    if given:
        server_login.withdraw(home)
        return given, None
    login = server_login.provide(home)
    server_login.publish(home, own)
    return login, home / server_login.LOGIN


def _how_to_sign_in(sign_in: SignIn, own: str, file: Path | None) -> str:
    """One click for who reads the terminal. A pipe or a log may be for other eyes too: no token there."""
    kept = file or AUTHENTICATION
    if not sys.stdout.isatty():
        return f"sign in with what {kept} holds"
    return f"open {sign_in.address(own)} (signs one browser in, within {MINUTES} minutes; others with what {kept} holds)"


def port_of(environment: Mapping[str, str]) -> int:
    """The port to listen on, 4200 unless PREFECT_SERVER_API_PORT says otherwise; 0 means any that is free. Raises ConfigError."""
    given = environment.get("PREFECT_SERVER_API_PORT", "4200")
    if not (given.isascii() and given.isdigit() and int(given) < 1 << 16):
        raise ConfigError(f"PREFECT_SERVER_API_PORT = {given!r} is no port: use a number from 1 to 65535")
    return int(given)


def _address(host: str, port: int) -> str:
    """Where this machine reaches a server that listens there."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _register(url: str, login: str) -> subprocess.Popen[bytes] | None:
    """Register everything and look after pipelines in a process of its own, unless BILP_REGISTER=false."""
    if os.environ.get("BILP_REGISTER", "true").lower() in ("false", "0", "no"):
        return None
    environment = os.environ | {"PREFECT_API_URL": url, server_login.CLIENT: login}
    # In a session of its own, an interrupt from the keyboard is for the server alone; the pipe ends the keeper with it.
    return subprocess.Popen([sys.executable, "-m", "deployments.keeper"], env=environment, stdin=subprocess.PIPE, start_new_session=True)


def main() -> None:
    os.umask(prefect_home.OTHERS)
    home = settle(os.environ)
    os.environ.setdefault(LATE, LATE_SECONDS)
    os.environ.pop("PREFECT_API_URL", None)  # this is the server; it asks nobody
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING  # not only variables set it, and this comes after the home is settled

    os.environ[AUTHENTICATION] = PREFECT_SERVER_API_AUTH_STRING.value() or ""
    host = os.environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1")
    reason = refusal(os.environ, host)
    if reason:
        ending.fail(PROGRAM, [reason], NO_AUTHENTICATION)
    repository.check(os.environ.get(repository.NAME, ""))  # before there is a server that would try to register it again and again
    serve(host, port_of(os.environ), home)


if __name__ == "__main__":
    with ending.one_line(PROGRAM, "serving"):
        main()
