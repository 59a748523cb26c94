"""Transient errors of a storage: its requests are made again until they are answered, or the outage has lasted too long.

This is the only place that does so for storage in a network, at any moment of a run: inside and outside of tasks, on workers, for
leases. What passes here as an error need not be tried again by whoever called, except where nobody knows whether it would help.

An outage is one for the whole process: its threads wait side by side and not one after the other, and what asks again after all
retries ran out is answered at once. It ends with the first request that is answered, whatever the answer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from bilp import notices
from bilp.errors import StorageError, StorageMisconfigured, StorageUnreachable
from bilp.storage.backend import RETRY_SECONDS, Store
from bilp.text.unexpected import one_line

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts; each pause is twice the one before
UNSAID = 2.0  # seconds of an outage that nobody needs to be told about
LONGEST_SILENCE = 60.0  # seconds for which a request of `bilp.storage.s3` waits for a store that says nothing
FORGOTTEN = 120.0  # seconds without a request after which the next failure begins an outage of its own


def _go_on() -> None:
    """Nothing stops a pause."""


@dataclass
class Outage:
    """For how long a storage has not been answering; one for all threads of a process."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = notices.say
    """Takes one line when an outage becomes noticeable, and one when it is over."""
    before_pause: Callable[[], None] = _go_on
    """Called before each pause; what it raises ends the waiting."""
    since: float | None = None
    """When it began; None while the storage answers."""
    failed: float = 0.0
    """When a request failed last."""
    said: bool = False
    answered: bool = False
    """Whether this process ever got an answer."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def over(self) -> None:
        """A request was answered."""
        with self.lock:
            waited, said = self.clock() - (self.since or 0.0), self.said
            self.since, self.said, self.answered = None, False, True
        if said:
            self.say(f"the storage answers again after {waited:.0f} s")

    def lasts(self, began: float) -> float:
        """Seconds since its begin; a request that was made at `began` has just failed."""
        with self.lock:
            now = self.clock()
            if self.since is None or now - self.failed > FORGOTTEN:
                self.since, self.said = now - min(now - began, LONGEST_SILENCE), False
            self.failed = now
            return now - self.since

    def announce(self, line: str) -> None:
        """Say that it is waited for, unless that was said."""
        with self.lock:
            said, self.said = self.said, True
        if not said:
            self.say(line)


outage = Outage()
"""The one of this process."""


def kind(store: Store, error: Exception) -> type[StorageError]:
    """The class that an error of a store belongs to, once nothing is tried again."""
    if store.misconfigured(error):
        return StorageMisconfigured
    return StorageUnreachable if store.retry_seconds(error) else StorageError


REQUESTS = (
    *("read", "span", "size", "sizes", "objects", "exists", "names", "version", "digest", "listing", "written_at"),
    *("write", "upload", "create", "create_from", "delete", "download", "touch", "copy", "create_copy"),
)
"""Functions of a store that reach it, and that may be called again: what they write is the same, and `create` may answer False."""


def patient(store: Store) -> Store:
    """The store, with requests that are made again while their errors are transient."""
    return cast(Store, _Patient(store))


class _Patient:
    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._store, name)
        if name not in REQUESTS:
            return function

        def ask(*arguments: Any, **options: Any) -> Any:
            again = [list(each) if isinstance(each, Iterator) else each for each in arguments]  # of an iterator one attempt leaves nothing
            return asked(self._store, lambda: function(*again, **options))

        return ask


def asked(store: Store, request: Callable[[], T]) -> T:
    """The answer to a request to a store. Raises what it raises, once that is not transient or the outage has lasted too long."""
    pause, first = FIRST_PAUSE, math.inf
    while True:
        began = outage.clock()
        try:
            answer = request()
        except Exception as error:
            failure = error
        else:
            outage.over()
            return answer
        limit = store.retry_seconds(failure)
        if not limit:
            if store.missing(failure):
                outage.over()  # that is an answer
            raise failure
        if outage.answered:
            limit = max(limit, RETRY_SECONDS)
        # In a storm that lets other threads through now and then, this request alone counts.
        now = outage.clock()
        first = min(first, now - min(now - began, LONGEST_SILENCE))
        lasted = max(outage.lasts(began), now - first)
        if lasted >= limit:
            raise failure
        if lasted >= UNSAID:
            reason = f"{one_line(failure)}; {store.remedy(failure)}"
            outage.announce(f"the storage is away or busy, asking again for up to {limit:.0f} s: {reason}")
        outage.before_pause()
        outage.sleep(min(pause, limit - lasted))
        pause = min(2 * pause, LONGEST_PAUSE)
