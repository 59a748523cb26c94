"""What work waits for or passes over, told to whoever watches: a line in the terminal, or else in the log of the process."""

from __future__ import annotations

from prefect.logging import get_logger

from bilp import notices
from bilp.storage import transient
from tasks import terminal
from tasks.stopping import stop_if_asked


def pass_on() -> None:
    """Have the lines of `bilp` arrive here, and have a pause of its own end when the flow run is stopped."""
    notices.listen(say)
    transient.outage.before_pause = stop_if_asked


def say(line: str) -> None:
    """One line in the terminal, and in the log of a worker's run."""
    terminal.say(f"          {line}")
    get_logger("tasks").warning("%s", line)
