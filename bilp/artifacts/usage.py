"""When results were used last: what a stage finds there already is marked, so that what nobody uses can be told apart and removed.

The mark is the time at which the storage says that a manifest or the record of a run was written. It is renewed before the look that
may find the thing, so that whoever is about to take it away, and looks at the time last, meets the mark of everybody who found it
before.
"""

from __future__ import annotations

import time
from contextlib import suppress

from bilp.errors import StorageError, StorageRefused
from bilp.storage import objects

RENEWED = 1800.0
"""Seconds after which a process marks again what it finds."""

_noted: dict[str, float] = {}
_refused: set[str] = set()


def note(document: str) -> None:
    """Mark the manifest or record at a URI, if one lies there, as used now, where this user may write."""
    now = time.monotonic()
    folder = document.rsplit("/", 3)[0]
    if folder in _refused or now - _noted.get(document, -RENEWED) < RENEWED:
        return
    with suppress(StorageError):  # nothing lies there, or the storage is away, which whoever looks is told
        try:
            objects.touch(document)
            _noted[document] = now
        except StorageRefused:
            _refused.add(folder)
