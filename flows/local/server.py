"""A private Prefect server for a process that was told of none. `python -m flows.local.server` is that server.

Prefect would start one of its own, but that one outlives a process that is killed (`kill -9`) and gives up if the first
migration of its database takes longer than 20 seconds. This one holds the reading end of a pipe whose only writing end is in
the process it serves: however that process ends, the pipe closes and the server stops. It listens on the loopback interface,
lets in who knows the login that this process drew, and uses the database in Prefect's home, as Prefect's own would.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import select
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping

from bilp import ending
from bilp.errors import BilpError
from bilp.text import unexpected
from flows.server import configured, home, loopback
from flows.server import login as server_login
from flows.server.home import one_at_a_time
from tasks import terminal

# Ours is a server for one process without a network: no usage statistics, nothing to say but its failure to start.
QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL"}
STOP_SECONDS = 5.0  # seconds that it may take to stop
FAILED = "failed: "

__all__ = ["Server", "one_at_a_time", "reachable", "serve", "start", "unhurried_database"]

_private: Server | None = None


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """In the block there is an API: the configured one, or else a private server that then serves this process to its end.

    Raises BilpError if neither can be had.
    """
    global _private
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings

    settings = get_current_settings()
    if settings.api.url is None:
        configured.check_private_allowed(settings)
        home.check(settings.home)
        terminal.say(f"          starting a private Prefect server, its database is in {settings.home}")
        login = f"bilp:{secrets.token_hex()}"  # nobody else on this machine needs it, and what the user set for others is not for it
        _private = Server(os.environ | {"PREFECT_HOME": str(settings.home), "PREFECT_SERVER_API_AUTH_STRING": login})
        import torch  # noqa: F401  # every flow needs it, and it takes as long to import as the server takes to start

        _private.wait()
        loopback.spare(os.environ, _private.url)
        # Threads that Prefect starts read the process-wide settings, and child processes the environment.
        # Nobody could sign in at the pages of that server, so Prefect is told of no UI to which its log would link.
        os.environ |= {"PREFECT_API_URL": _private.url, "PREFECT_API_AUTH_STRING": login, "PREFECT_UI_URL": ""}
        refresh_global_settings_context()
    elif _private is None or settings.api.url != _private.url:
        server_login.use(settings.api.url)
        configured.check(settings.api.url)
    settings = get_current_settings()
    if _private is None or settings.api.url != _private.url:
        yield
        return
    # Nobody watches for heartbeats there, and the thread that sends them costs every flow run up to a second.
    with _private.in_words(), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


class Server:
    """A server that lives no longer than this process; it starts at once, `wait` tells when it answers."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.url = self.complaint = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=QUIET | dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # an interrupt from the keyboard is for us; the server is still needed to record it
        )
        atexit.register(self.stop)

    def wait(self) -> str:
        """The URL of its API, once it answers. Raises BilpError, with its reason, if it cannot start."""
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        if not said.startswith("http"):
            self.stop()
            reason = said.removeprefix(FAILED) or f"exit status {self.process.returncode}"
            raise BilpError(f"the private Prefect server did not start: {reason}; or set PREFECT_API_URL to use another")
        self.url = said
        return self.url

    @contextlib.contextmanager
    def in_words(self) -> Iterator[None]:
        """Raise BilpError in place of an answer 5xx in the block, if the server has said why it gives such."""
        from httpx import HTTPStatusError

        try:
            yield
        except HTTPStatusError as error:
            if error.response.status_code < 500 or not self._complaint():
                raise
            raise BilpError(f"the private Prefect server cannot go on: {self.complaint}") from error

    def _complaint(self) -> str:
        """What the server has said after its URL, without waiting for it."""
        assert self.process.stdout is not None
        if not self.complaint and select.select([self.process.stdout], [], [], 0)[0]:
            self.complaint = self.process.stdout.readline().strip().removeprefix(FAILED)
        return self.complaint

    def stop(self) -> None:
        """Close the pipe and wait until the server is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=STOP_SECONDS)
        self.process.kill()
        self.process.wait()


def start(environment: Mapping[str, str]) -> Server:
    """A server that answers already."""
    server = Server(environment)
    server.wait()
    return server


def serve() -> None:
    """Be the server: print the URL when ready, stop when the standard input closes."""
    from prefect.context import refresh_global_settings_context
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    from flows.server import request_checks, starting

    host = "127.0.0.1"
    os.umask(home.OTHERS)
    threading.Thread(target=_stop_with_owner, daemon=True).start()
    with starting.listening(host, 0) as listener:
        own = f"http://{host}:{listener.getsockname()[1]}"
        os.environ |= request_checks.settings(own)  # what the user set there is for other servers
        refresh_global_settings_context()
        with unhurried_database():
            settings = get_current_settings()
            login = settings.server.api.auth_string.get_secret_value() if settings.server.api.auth_string else None
            app = request_checks.RequestChecks(create_app(ephemeral=True, final=True), request_checks.hosts(host, {}), login=login)
            starting.Server(app, "error", settings.home, lambda _: _say(f"{own}/api"), lambda why: _say(FAILED + why)).run([listener])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def unhurried_database() -> contextlib.AbstractContextManager[object]:
    """Transactions that ask for SQLite's write lock when they begin, and then wait for it.

    Prefect asks at the first write. If another transaction has written since the first read, SQLite refuses at once whatever the
    time-out, the server answers 503 and the client sleeps for two seconds: here, several times in every run.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.dependencies import temporary_database_config
    from prefect.settings import get_current_settings
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

    class Immediate(AioSqliteConfiguration):
        @contextlib.asynccontextmanager
        async def begin_transaction(
            self, session: AsyncSession, with_for_update: bool = False
        ) -> AsyncGenerator[AsyncSessionTransaction, None]:
            async with super().begin_transaction(session, with_for_update=True) as transaction:
                yield transaction

    secret = get_current_settings().server.database.connection_url
    url = secret.get_secret_value() if secret else ""
    return temporary_database_config(Immediate(url)) if url.startswith("sqlite") else contextlib.nullcontext()


def _stop_with_owner() -> None:
    sys.stdin.read()
    timer = threading.Timer(STOP_SECONDS, os._exit, [0])
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve; if that is not possible, print the reason in one line for the process that is served."""
    try:
        serve()
    except Exception as error:
        _say(FAILED + (str(error) if isinstance(error, BilpError) else unexpected.told(error, "starting a private Prefect server")))
        sys.exit(ending.FAILED)


if __name__ == "__main__":
    main()
