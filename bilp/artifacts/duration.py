"""How long the work took that an artifact came of: from where whoever asked for it began, to its publication.

It goes into the manifest's provenance, beside versions and devices, and into no key and no file: equal results stay equal bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SECONDS = "seconds"
"""Its name in the provenance."""

_BEGAN: ContextVar[float | None] = ContextVar("began", default=None)


def now() -> float:
    """The moment, as `timed` takes it."""
    return time.monotonic()


@contextmanager
def timed(since: float | None = None) -> Iterator[None]:
    """What is published in this block, by this thread, tells the seconds since the block began, or since a moment of `now`."""
    token = _BEGAN.set(now() if since is None else since)
    try:
        yield
    finally:
        _BEGAN.reset(token)


def told() -> dict[str, float]:
    """The entry of the provenance; empty outside of `timed`."""
    began = _BEGAN.get()
    return {} if began is None else {SECONDS: round(time.monotonic() - began, 3)}
