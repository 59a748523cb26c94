"""Who works on an artifact: leases in the object storage itself, made of create-only files.

A lease is a folder. `000001.json` says that somebody claimed the work first, `000002.json` that it was given to somebody
else afterwards, and so on; of several claimants of one number the storage lets exactly one win. Whoever finds a higher
number than its own has lost the work (the number is a fencing token) and publishes nothing more: `bilp.artifacts.publication.publish`
asks. A claim ends when its owner says so (`000001.released`), when the claimant knows that its owner is gone, or when the claimant
has watched it for a while and saw no renewal (`Watch`).

What clocks of other machines say counts for nothing, and so does what a claim says of its own end: whoever waits for a lease counts
the seconds between two renewals by its own monotonic clock. Versions before this one compared `expires_at` with the time of day, and
it is still written for them.

Between the question and the writes that follow, a process may still be frozen and wake up too late. What it then writes is
create-only, files and manifest: the first ones stay (see `bilp.artifacts.publication`).
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

from bilp import notices
from bilp.artifacts import usage
from bilp.config.base import Frozen
from bilp.errors import DamagedArtifact, LeaseLost, MissingArtifact, StorageError
from bilp.storage import objects

_CLAIM = re.compile(r"([0-9]{6,100})\.json")
_MARK = re.compile(r"[0-9]{6,100}\.(?:released|renewed)")
_LONGEST_OWNER = 200
_LARGEST = 1 << 16  # bytes of a claim or a renewal
_RENEWALS_PER_TERM = 3
JOIN_TIMEOUT = 5.0  # seconds; a renewal that waits for the storage does no harm if it comes after the release
TERMS_OF_SILENCE = 4 / 3
"""Terms without a renewal after which a claim has ended: one renewal may be late."""

_held: ContextVar[Lease | None] = ContextVar("held", default=None)


class Claim(Frozen):
    """What a claim or its renewal says."""

    owner: str
    """Who claims; the same owner may claim again at once, because it knows that its earlier process ended."""
    attempt: int
    """Number of the claim, from 1."""
    expires_at: float
    """Seconds since 1970 (UTC) after which versions before this one take over, unless a renewal says later."""
    token: str
    """Identifies the process that claims, for the case that the answer to its own write was lost; new in every renewal."""


@dataclass(frozen=True)
class Holder:
    """The newest claim, whether it still stands or not."""

    attempt: int
    """Its number."""
    owner: str
    """Who made it; empty if that cannot be read."""


@dataclass
class Lease:
    """The right to work on something, for as long as nobody else has a higher number."""

    uri: str
    claim: Claim
    seconds: float
    lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise LeaseLost if the work was given to somebody else."""
        if not self.lost.is_set() and objects.exists(_claim_uri(self.uri, self.claim.attempt + 1)):
            self.lost.set()
        self.check_what_is_known()

    def check_what_is_known(self) -> None:
        """As `check`, from the last renewal's knowledge: without a request, for every step of the work."""
        if self.lost.is_set():
            raise LeaseLost(
                f"attempt {self.claim.attempt} by {self.claim.owner} lost {self.uri} to a later one: stop here, the later one publishes"
            )

    def renew(self) -> None:
        """Show that it is still held. Raises LeaseLost if the work was given to somebody else."""
        self.check()
        renewed = self.claim.model_copy(update={"expires_at": time.time() + self.seconds, "token": uuid.uuid4().hex})
        objects.write(_mark_uri(self.uri, self.claim.attempt, "renewed"), _encode(renewed))

    def release(self) -> None:
        """Let others take over at once."""
        objects.create(_mark_uri(self.uri, self.claim.attempt, "released"), b"")


class Watch:
    """For how long a lease has shown no sign of life, by the clock of the process that watches it.

    Only time in which it was watched counts. While the storage does not answer, or this process is frozen, nothing would be seen of a
    holder that lives, so that after such a gap the silence begins anew.

    Args:
        seconds: The term of the lease, three times in which its holder renews it.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout = seconds * TERMS_OF_SILENCE
        self.clock = clock
        self.holder: Holder | None = None
        self.sign: bytes | None = None
        self.since = self.looked = 0.0

    def silence(self, sign: bytes, asked: float) -> float:
        """Seconds for which `sign`, whatever changes with every claim and renewal, has been the same; it was asked for at `asked`."""
        now = self.clock()
        if sign != self.sign or now - self.looked > self.timeout / 2:
            self.sign, self.since = sign, now
        self.looked = now
        return asked - self.since

    def forget(self) -> None:
        """Whatever was seen, the silence begins anew."""
        self.sign = None


def take(uri: str, owner: str, seconds: float, gone: Callable[[str], bool], watch: Watch | None = None) -> Lease | None:
    """The lease at `uri`, to be renewed within `seconds`, or None while somebody else holds it.

    Args:
        uri: Folder of its claims.
        owner: Who asks for it.
        seconds: Its term.
        gone: Whether an owner is known to have ended (its run was recorded as crashed, for instance); asked only about the holder.
        watch: What this process has seen of the holder in its calls so far, and who that is. Without one, silence is no reason.
    """
    asked = watch.clock() if watch else 0.0
    names = set(objects.children(uri))
    newest = _newest(uri, names)
    if newest and f"{newest:06d}.released" not in names:
        claim = _content(_claim_uri(uri, newest))
        holder = Holder(newest, _owner_of(uri, newest, claim))
        if holder.owner != owner and not _silent(uri, holder, claim, names, asked, watch) and not gone(holder.owner):
            return None
    ours = Claim(owner=owner, attempt=newest + 1, expires_at=time.time() + seconds, token=uuid.uuid4().hex)
    where, content = _claim_uri(uri, ours.attempt), _encode(ours)
    if objects.create(where, content) or _content(where) == content:
        return Lease(uri, ours, seconds)
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
        heart.join(JOIN_TIMEOUT)
        if not lease.lost.is_set():
            with suppress(StorageError):  # what was done is done; without the release the lease ends by its silence
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


def holder(uri: str) -> Holder | None:
    """Who claimed last, whether that still stands or not; None if there was never a claim."""
    newest = _newest(uri, objects.children(uri))
    return Holder(newest, _owner_of(uri, newest, _content(_claim_uri(uri, newest)))) if newest else None


def last_sign(uri: str) -> bytes:
    """Something that changes with every claim and renewal: an observer needs no clock but its own to see that nobody works."""
    names = objects.children(uri)
    newest = _newest(uri, names)
    if not newest:
        return b""
    mark = _content(_mark_uri(uri, newest, "renewed")) if f"{newest:06d}.renewed" in names else b""
    return mark or _content(_claim_uri(uri, newest))


def _keep(lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(lease.seconds / _RENEWALS_PER_TERM):
        try:
            lease.renew()
            usage.renew()
        except StorageError:
            continue  # nobody else can take it over either while the storage is out of reach
        except LeaseLost:
            return


def _silent(uri: str, holder: Holder, claim: bytes, names: Collection[str], asked: float, watch: Watch | None) -> bool:
    """Whether nothing was seen of the holder for too long; what is seen now is noted in the watch."""
    if watch is None:
        return False
    watch.holder = holder
    mark = f"{holder.attempt:06d}.renewed"
    renewal = _content(objects.join(uri, mark)) if mark in names else b""
    return watch.silence(b"\n".join([str(holder.attempt).encode(), claim, renewal]), asked) > watch.timeout


def _newest(uri: str, names: Iterable[str]) -> int:
    """The highest number of a claim, 0 if there is none; other files are passed over."""
    newest = 0
    for name in names:
        match = _CLAIM.fullmatch(name)
        number = int(match[1]) if match else 0
        if number and name == f"{number:06d}.json":
            newest = max(newest, number)
        elif not _MARK.fullmatch(name):
            notices.say_once(f"{objects.join(uri, name)} is no claim of a lease: passed over")
    return newest


def _content(uri: str) -> bytes:
    """What a file of a lease holds; nothing if it is not there any more, or so large that it is none."""
    try:
        return objects.read(uri, most=_LARGEST)
    except (MissingArtifact, DamagedArtifact):
        return b""


def _owner_of(uri: str, attempt: int, claim: bytes) -> str:
    """Who made a claim; empty, which is nobody, if that cannot be read: it then stands until it was silent for long enough."""
    try:
        found = json.loads(claim)["owner"]
        if isinstance(found, str) and len(found) <= _LONGEST_OWNER and found.isprintable():
            return found
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    notices.say_once(f"{_claim_uri(uri, attempt)} is not the claim of a lease: it is passed over if nobody renews it")
    return ""


def _claim_uri(uri: str, attempt: int) -> str:
    return objects.join(uri, f"{attempt:06d}.json")


def _mark_uri(uri: str, attempt: int, mark: str) -> str:
    return objects.join(uri, f"{attempt:06d}.{mark}")


def _encode(claim: Claim) -> bytes:
    return json.dumps(claim.model_dump(mode="json"), sort_keys=True).encode()
