"""Lines for whoever watches, from work that does not know who that is: what it waits for, what it passes over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str], None]

_listener: Listener = logging.getLogger("bilp").warning
_said: set[str] = set()
_about_stored: ContextVar[bool] = ContextVar("about_stored", default=False)


def listen(listener: Listener) -> None:
    """From now on `listener` gets each line; before, they are warnings of the logger `bilp`."""
    global _listener
    _listener = listener


def say(line: str) -> None:
    """One line, for now."""
    _listener(line)


@contextmanager
def reading_what_is_stored() -> Iterator[None]:
    """Inside the block, notices about spellings have no reader: nobody can write what is stored another way."""
    token = _about_stored.set(True)
    try:
        yield
    finally:
        _about_stored.reset(token)


def say_once(line: str) -> None:
    """One line that nobody needs to read twice from this process."""
    if line not in _said and not _about_stored.get():
        _said.add(line)
        _listener(line)
