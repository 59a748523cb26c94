"""What the log of a Prefect server means; a database that cannot be written is one line, however many requests and services find it so."""

from __future__ import annotations

import logging
import os
import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from bilp.text.redaction import redacted
from flows.server.home import REMEDY

DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"

_READ_ONLY = "readonly database|ermission denied|ead-only"
_FULL = "disk is full|disk I/O error|No space left"
_UNWRITABLE = f"readonly database|{_FULL}"
_CAUSES = (
    (
        "Can't locate revision",
        "its database was made by a newer version of Prefect: update Prefect, or set PREFECT_HOME to another folder",
    ),
    (
        "not a database|malformed",
        "its database is damaged: move it away (the history of runs goes with it), or set PREFECT_HOME to another folder",
    ),
    (_READ_ONLY, f"its database cannot be written: {REMEDY}"),
    (_FULL, f"its database cannot be written, the disk may be full: free some space, or {REMEDY}"),
    ("unable to open database", f"its database cannot be opened: correct {DATABASE}, or {REMEDY}"),
    ("database is locked", "another process holds its database: end that one, or set PREFECT_HOME to another folder"),
    (
        "onnection refused|Connect call failed|could not translate|not known|password authentication",
        f"its database does not answer: correct {DATABASE}",
    ),
)
"""What the log of a failed start may hold, and what that means."""

PAUSE = 60.0  # seconds between two complaints


def meaning(log: str) -> str | None:
    """What a log means and what to do, None if that is not known."""
    return next((meaning for pattern, meaning in _CAUSES if re.search(pattern, log)), None)


def shorten(home: Path, complain: Callable[[str], None]) -> None:
    """From now on, have every log of this process say in one line, by `complain`, that the database in `home` cannot be written."""
    short = _Short(home, complain)
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for handler in {handler for logger in (logging.root, *loggers) for handler in logger.handlers}:
        handler.addFilter(short)


class _Short(logging.Filter):
    """Takes out what is said about a full disk."""

    def __init__(self, home: Path, complain: Callable[[str], None]) -> None:
        super().__init__()
        self.home, self.complain = home, complain
        self.next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += "".join(traceback.format_exception_only(record.exc_info[1]))
        if not re.search(_UNWRITABLE, text):
            return True
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + PAUSE
            self.complain(redacted(f"its state is in {self.home}, and {meaning(text)}", os.environ))
        return False
