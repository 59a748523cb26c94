"""Lines for whoever watches, from work that does not know who that is: what it waits for, what it passes over."""

from __future__ import annotations

import logging
from collections.abc import Callable

Listener = Callable[[str], None]

_listener: Listener = logging.getLogger("bilp").warning
_said: set[str] = set()


def listen(listener: Listener) -> None:
    """From now on `listener` gets each line; before, they are warnings of the logger `bilp`."""
    global _listener
    _listener = listener


def say(line: str) -> None:
    """One line, for now."""
    _listener(line)


def say_once(line: str) -> None:
    """One line that nobody needs to read twice from this process."""
    if line not in _said:
        _said.add(line)
        _listener(line)
