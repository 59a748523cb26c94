"""Who works on an artefact: leases in the object storage itself, made of create-only files.

A lease is a folder. `000001.json` says that somebody claimed the work first, `000002.json` that it was given to somebody
else afterwards, and so on; of several claimants of one number the storage lets exactly one win. Whoever finds a higher
number than its own has lost the work (the number is a fencing token) and publishes nothing more: `bilp.publication.publish`
asks. A claim ends when its owner says so (`000001.released`), when it was not renewed in time, or when the claimant knows
that its owner is gone.

Between the question and the writes that follow, a process may still be frozen and wake up too late. What it then writes is
create-only, files and manifest: the first ones stay (see `bilp.publication`).
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from pydantic import ValidationError

from bilp import storage
from bilp.config import Frozen
from bilp.errors import DamagedArtefact, LeaseLost, MissingArtefact, StorageError

_CLAIM = re.compile(r"(\d{6})\.json")
_RENEWALS_PER_TERM = 3

_held: ContextVar[Lease | None] = ContextVar("held", default=None)


class Claim(Frozen):
    """What a claim or its renewal says."""

    owner: str
    """Who claims; the same owner may claim again at once, because it knows that its earlier process ended."""
    attempt: int
    """Number of the claim, from 1."""
    expires_at: float
    """Seconds since 1970 (UTC) after which others may take over, unless a renewal says later."""
    token: str
    """Identifies the process that claims, for the case that the answer to its own write was lost."""


@dataclass
class Lease:
    """The right to work on something, for as long as nobody else has a higher number."""

    uri: str
    claim: Claim
    seconds: float
    lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise LeaseLost if the work was given to somebody else."""
        if not self.lost.is_set() and storage.exists(_claim_uri(self.uri, self.claim.attempt + 1)):
            self.lost.set()
        self.check_what_is_known()

    def check_what_is_known(self) -> None:
        """As `check`, from the last renewal's knowledge: without a request, for every step of the work."""
        if self.lost.is_set():
            raise LeaseLost(
                f"attempt {self.claim.attempt} by {self.claim.owner} lost {self.uri} to a later one: stop here, the later one publishes"
            )

    def renew(self) -> None:
        """Put off the expiry, if the lease is still ours. Raises LeaseLost otherwise."""
        self.check()
        renewed = self.claim.model_copy(update={"expires_at": time.time() + self.seconds})
        storage.write(_mark_uri(self.uri, self.claim.attempt, "renewed"), _encode(renewed))

    def release(self) -> None:
        """Let others take over at once."""
        storage.create(_mark_uri(self.uri, self.claim.attempt, "released"), b"")


def take(uri: str, owner: str, seconds: float, gone: Callable[[str], bool]) -> Lease | None:
    """The lease at `uri` for `seconds` from now, or None while somebody else holds it.

    `gone` says whether an owner is known to have ended (its run was recorded as crashed, for instance); it is asked only about
    the present holder. Clocks of machines need to agree within a fraction of `seconds`.
    """
    names = set(storage.children(uri))
    newest = max((int(match[1]) for match in map(_CLAIM.fullmatch, names) if match), default=0)
    if newest and not _ended(uri, newest, names, owner, gone):
        return None
    claim = Claim(owner=owner, attempt=newest + 1, expires_at=time.time() + seconds, token=uuid.uuid4().hex)
    where = _claim_uri(uri, claim.attempt)
    if storage.create(where, _encode(claim)) or _read(where) == claim:
        return Lease(uri, claim, seconds)
    return None


@contextmanager
def holding(lease: Lease) -> Iterator[None]:
    """In the block the lease is renewed in the background and whatever is published asks it first; released at the end."""
    stop = threading.Event()
    heart = threading.Thread(target=_keep, args=(lease, stop), name="lease", daemon=True)
    token = _held.set(lease)
    heart.start()
    try:
        yield
    finally:
        _held.reset(token)
        stop.set()
        heart.join()
        if not lease.lost.is_set():
            lease.release()


def check() -> None:
    """Raise LeaseLost if this process works under a lease that was given to another; nothing without a lease."""
    lease = _held.get()
    if lease is not None:
        lease.check()


def stop_if_lost() -> None:
    """As `check`, cheap enough for every step of the work: what the background renewals found out."""
    lease = _held.get()
    if lease is not None:
        lease.check_what_is_known()


def holder(uri: str) -> Claim | None:
    """The newest claim, whether it still stands or not; None if there was never one."""
    numbers = [int(match[1]) for match in map(_CLAIM.fullmatch, storage.children(uri)) if match]
    return _read(_claim_uri(uri, max(numbers))) if numbers else None


def pulse(uri: str) -> bytes:
    """Something that changes with every claim and renewal: an observer needs no clock but its own to see that nobody works."""
    numbers = [int(match[1]) for match in map(_CLAIM.fullmatch, storage.children(uri)) if match]
    if not numbers:
        return b""
    try:
        return storage.read(_mark_uri(uri, max(numbers), "renewed"))
    except MissingArtefact:
        return storage.read(_claim_uri(uri, max(numbers)))


def _keep(lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(lease.seconds / _RENEWALS_PER_TERM):
        try:
            lease.renew()
        except StorageError:
            continue  # nobody else can take it over either while the storage is out of reach
        except LeaseLost:
            return


def _ended(uri: str, attempt: int, names: set[str], owner: str, gone: Callable[[str], bool]) -> bool:
    if f"{attempt:06d}.released" in names:
        return True
    claim = _read(_claim_uri(uri, attempt))
    if claim.owner == owner:
        return True
    try:
        until = _read(_mark_uri(uri, attempt, "renewed")).expires_at
    except MissingArtefact:
        until = claim.expires_at
    return time.time() > until or gone(claim.owner)


def _claim_uri(uri: str, attempt: int) -> str:
    return storage.join(uri, f"{attempt:06d}.json")


def _mark_uri(uri: str, attempt: int, mark: str) -> str:
    return storage.join(uri, f"{attempt:06d}.{mark}")


def _encode(claim: Claim) -> bytes:
    return json.dumps(claim.model_dump(mode="json"), sort_keys=True).encode()


def _read(uri: str) -> Claim:
    try:
        return Claim.model_validate_json(storage.read(uri))
    except ValidationError as error:
        raise DamagedArtefact(f"{uri} is not the claim of a lease: delete the folder that it lies in") from error
