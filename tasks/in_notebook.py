"""Flows that are called in a notebook: Prefect's log stays in its database, and one bar below the cell says where the work is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bilp.api import notebook

_status: notebook.Status | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a notebook free of log lines in the block; anywhere else, and inside of another such block, this does nothing."""
    global _status
    if _status is not None or not notebook.here():
        yield
        return
    handlers = [handler for name in (None, "prefect") for handler in logging.getLogger(name).handlers]
    for handler in handlers:
        handler.addFilter(_not_from_prefect)
    _status = status = notebook.Status()
    try:
        yield
    finally:
        _status = None
        status.clear()
        for handler in handlers:
            handler.removeFilter(_not_from_prefect)


def tell(label: str, done: int, total: int) -> None:
    """Move the bar, if there is one."""
    if _status is not None:
        _status.show(label, done / max(total, 1))


def _not_from_prefect(record: logging.LogRecord) -> bool:
    return not record.name.startswith("prefect") or record.levelno >= logging.CRITICAL
