"""Polling intervals: how often the Prefect server is asked or told about something, which grow with the time that it takes.

A server answers a few hundred such requests a second at most. Hundreds of units wait or run at the same time, and nobody
needs to know within two seconds that an hour's work has ended.
"""

from __future__ import annotations

SHARE = 0.02  # of the time that it took so far
LONGEST = 20.0  # seconds; the lease of a unit (`tasks.remote.LivenessProbe`) wants to be looked at more than once in its term


def interval(elapsed: float, shortest: float) -> float:
    """Seconds until the next time, at least `shortest`, for something that began `elapsed` seconds ago."""
    return max(shortest, min(SHARE * elapsed, LONGEST))
