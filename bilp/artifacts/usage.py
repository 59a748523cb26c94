"""When results were used last: what a stage finds there already is marked, so that what nobody uses can be told apart and removed.

The mark is the time at which the storage says that a manifest or the record of a run was written. It is renewed before the look that
may find the thing, so that whoever is about to take it away, and looks at the time last, meets the mark of everybody who found it
before. What a process has found or made is marked again while it works (`renew`): the first arm of a pipeline may be days old when the
last one is distilled, and its evaluation when the page is written.
"""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import islice

from bilp.errors import StorageError, StorageRefused
from bilp.storage import objects

RENEWED = 1800.0
"""Seconds after which a process marks again what it finds."""
KEPT_UP = 4 * 3600.0
"""Seconds after which it does so again without finding it again: far fewer than those for which everything stays that was used."""
AT_ONCE = 20
"""Documents that are marked again in one go: whoever calls has a lease to renew."""

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


def made(document: str) -> None:
    """A manifest was just written by this process."""
    _noted[document] = time.monotonic()


def renew() -> None:
    """Mark again what this process has found or made, as far as that is due; to be called every few minutes."""
    due = time.monotonic() - KEPT_UP
    for document in list(islice((document for document, at in list(_noted.items()) if at < due), AT_ONCE)):
        _noted[document] += RENEWED  # if it is away, or refused, it is not the first one again and again
        note(document)
