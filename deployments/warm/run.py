"""python -m deployments.warm.run

The program that a worker starts for a run: it lets the server at BILP_WARM_SERVER fork the run's process, or becomes Prefect's engine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from deployments.warm import protocol

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
ENGINE = ("-m", "prefect.engine")
LOST = 70
"""Exit status if the server went away: nobody knows how the run ended."""


def main(cold: Sequence[str] = ENGINE) -> None:
    """Have a process forked and end as it does; with `cold`, arguments of Python, if there is no server for it."""
    address = os.environ.pop(protocol.ADDRESS, None)
    status = None if address is None else warm(address)
    if status is None:
        os.execv(sys.executable, [sys.executable, *cold])
    if status >= 0:
        sys.exit(status)
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)


def warm(address: str) -> int | None:
    """The exit status of a process that the server at `address` forked (-n: ended by signal n); None if it forks none.

    Signals that came before it was known that there is none are for this process.
    """
    waiting: list[int] = []
    process, begun = 0, False

    def pass_on(number: int, _: FrameType | None) -> None:
        if process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        else:
            waiting.append(number)  # until there is a process

    former = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(address)
                protocol.send(connection, os.environ, str(Path.cwd()))
                answers = connection.makefile("r", encoding="ascii")
                answer = answers.readline().strip()
            except OSError:
                return None
            if not answer.isdigit():
                return None
            process, begun = int(answer), True
            while waiting:
                pass_on(waiting.pop(0), None)
            try:
                ended = answers.readline().strip()
            except OSError:
                ended = ""
            process = 0  # its number may be another's from here on
            return int(ended) if ended else LOST
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for came in () if begun else waiting:
            os.kill(os.getpid(), came)


if __name__ == "__main__":
    main()
