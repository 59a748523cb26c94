"""A Prefect server that starts in this process, on a socket that is bound already; if it cannot, one line says why and what to do."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from bilp.errors import BilpError
from bilp.text import redaction, unexpected
from flows.server import log as server_log
from flows.server.home import LOCK, one_at_a_time


class Server(uvicorn.Server):
    """A server that tells its port once it answers, and complains of a database that it cannot write. `run` raises BilpError if it cannot
    start."""

    def __init__(self, app: ASGIApp, log_level: str, home: Path, announce: Callable[[int], None], complain: Callable[[str], None]) -> None:
        super().__init__(uvicorn.Config(app, log_level=log_level, lifespan="on", access_log=False))
        self.home, self.announce, self.complain = home, announce, complain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, one server after the other in one home."""
        log, logger = _Log(), logging.getLogger("uvicorn.error")
        logger.addFilter(log)
        try:
            with one_at_a_time(self.home / LOCK):
                await super().startup(sockets)
        except SystemExit:  # of some versions, after the reason was logged; others return
            pass
        finally:
            logger.removeFilter(log)
        if not self.started:
            raise BilpError(why(log.text, self.home))
        server_log.shorten(self.home, self.complain)
        self.announce(self.servers[0].sockets[0].getsockname()[1])


class _Log(logging.Filter):
    """Keeps what is logged to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.text += logging.Formatter().format(record) + "\n"
        return False


def why(log: str, home: Path) -> str:
    """What the log of a failed start means, in one line; if that is not known, the log is kept in a file that the line names."""
    names = (line.strip() for line in reversed(log.splitlines()))
    reason = next((line[: unexpected.MOST] for line in names if re.match(r"[\w.]+: \S", line)), "no reason given")
    meaning = server_log.meaning(log)
    if meaning:
        return redaction.redacted(f"its state is in {home}, and {meaning} ({reason})", os.environ)
    file = unexpected.keep(RuntimeError(log), "starting a Prefect server")
    return redaction.redacted(
        f"{reason}; its state is in {home}: set PREFECT_HOME to an empty folder to begin anew; its log is in {file}",
        os.environ,
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 means any that is free. Raises BilpError if that address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OverflowError as error:
        raise BilpError(f"{port} is no port: use one from 1 to 65535") from error
    except OSError as error:
        raise BilpError(
            f"no server can listen on {host}:{port} ({error.strerror or error}): end what listens there already, or set "
            "PREFECT_SERVER_API_PORT or PREFECT_SERVER_API_HOST to another address"
        ) from error
