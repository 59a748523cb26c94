"""Transient errors of a storage in a network: what is tried again, for how long, and what is said about it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from fixtures_s3 import S3Server
from s3fs.errors import translate_boto_error

from bilp import notices
from bilp.errors import (
    MissingArtifact,
    StorageError,
    StorageMisconfigured,
    StorageRefused,
    StorageUnreachable,
)
from bilp.storage import local, objects, s3, s3_errors, transient
from bilp.storage.backend import RETRY_SECONDS
from drill.relay import Relay

pytestmark = pytest.mark.slow


class Clock:
    """A clock that moves while somebody sleeps, and by what a request takes."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Nobody really sleeps."""
    clock = Clock()
    monkeypatch.setattr(transient, "outage", transient.Outage(clock=clock, sleep=clock.sleep))
    return clock


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(notices, "_listener", lines.append)
    return lines


def answered(code: str, status: int, message: str = "reason") -> Exception:
    """What s3fs raises when a store answers so."""
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    found: Exception = translate_boto_error(boto.ClientError(answer, "GetObject"))
    return found


def unresolved(number: int) -> Exception:
    """What the client raises when the resolver answers with this error."""
    connector: Any = SimpleNamespace(ssl=True, host="store.example.org", port=443, is_ssl=True)
    failed = aiohttp.ClientConnectorDNSError(connector, socket.gaierror(number, "name"))
    return boto.EndpointConnectionError(endpoint_url="https://store.example.org", error=failed)


def untrusted() -> Exception:
    connector: Any = SimpleNamespace(ssl=True, host="store.example.org", port=443, is_ssl=True)
    wrong = aiohttp.ClientConnectorCertificateError(connector, ssl.SSLCertVerificationError("self-signed"))
    return boto.SSLError(endpoint_url="https://store.example.org", error=wrong)


TRANSIENT = {
    "slow down": answered("SlowDown", 503),
    "unavailable": answered("ServiceUnavailable", 503),
    "unavailable, to HEAD": answered("503", 503),
    "internal error": answered("InternalError", 500),
    "500 to HEAD": answered("500", 500),
    "bad gateway": answered("502", 502),
    "gateway timeout": answered("504", 504),
    "of a proxy's own": answered("520", 520),
    "too many requests": answered("429", 429),
    "throttled": answered("ThrottlingException", 400),
    "request timeout": answered("RequestTimeout", 400),
    "body cut off on its way": answered("IncompleteBody", 400),
    "body changed on its way": answered("BadDigest", 400),
    "refused": boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
    "closed": boto.ConnectionClosedError(endpoint_url="http://127.0.0.1:9"),
    "no connection in time": boto.ConnectTimeoutError(endpoint_url="http://127.0.0.1:9"),
    "no answer in time": boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:9"),
    "answer cut off": aiohttp.ClientPayloadError("not enough data"),
    "handshake cut off": boto.SSLError(endpoint_url="https://127.0.0.1:9", error=ssl.SSLEOFError("EOF")),
    "no XML": ResponseParserError("no XML"),
    "reset": ConnectionResetError(104, "Connection reset by peer"),
    "timeout": TimeoutError(),
    "no route": OSError(113, "No route to host"),
    "resolver away": unresolved(socket.EAI_AGAIN),
}

MISCONFIGURED = {
    "no rights": answered("AccessDenied", 403),
    "403 to HEAD": answered("403", 403),
    "unknown key": answered("InvalidAccessKeyId", 403),
    "wrong secret": answered("SignatureDoesNotMatch", 403),
    "token is over": answered("ExpiredToken", 400),
    "clock is wrong": answered("RequestTimeTooSkewed", 403),
    "no bucket": answered("NoSuchBucket", 404),
    "bad bucket name": answered("InvalidBucketName", 400),
    "wrong region": answered("PermanentRedirect", 301),
    "400 to HEAD": answered("400", 400),
    "not implemented": answered("NotImplemented", 501),
    "no credentials": boto.NoCredentialsError(),
    "half of the credentials": boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
    "no profile": boto.ProfileNotFound(profile="mine"),
    "no URL": ValueError("Invalid endpoint: store:9000"),
    "impossible name of a host": boto.HTTPClientError(error=UnicodeError("label too long")),
    "certificate": untrusted(),
}

NEITHER = {
    "no room": answered("507", 507),
    "quota": answered("QuotaExceeded", 403),
    "a conflict": answered("ConditionalRequestConflict", 409),
    "local disk full": OSError(28, "No space left on device"),
    "unheard of": RuntimeError("unheard of"),
}


@pytest.mark.parametrize("name", TRANSIENT)
def test_transient_errors_are_tried_again(name: str) -> None:
    assert s3_errors.retry_seconds(TRANSIENT[name]) == RETRY_SECONDS
    assert not s3_errors.misconfigured(TRANSIENT[name])


@pytest.mark.parametrize("name", [*MISCONFIGURED, *NEITHER])
def test_other_errors_are_not(name: str) -> None:
    error = (MISCONFIGURED | NEITHER)[name]
    assert s3_errors.retry_seconds(error) == 0.0
    assert transient.kind(s3, error) is (StorageMisconfigured if name in MISCONFIGURED else StorageError)  # type: ignore[arg-type]


def test_a_local_disk_is_asked_once() -> None:
    assert not any(local.retry_seconds(OSError(number, "")) for number in range(1, 132))
    assert local.misconfigured(PermissionError(13, "Permission denied"))
    assert not local.misconfigured(OSError(28, "No space left on device"))


class Store:
    """S3's classification of errors around a store whose requests fail as they are told to, and then read the file itself."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.clock, self.seconds = clock, seconds
        self.errors: Iterator[Exception] = iter(())
        self.asked = 0

    def read(self, path: str, most: int | None = None) -> bytes:
        self.asked += 1
        self.clock.now += self.seconds
        for error in self.errors:
            raise error
        return Path(path).read_bytes()

    def __getattr__(self, name: str) -> Any:
        return getattr(s3, name)


@pytest.fixture
def store(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """What `storage` finds behind every s3 URI; it holds the file `bucket/file`."""
    store = Store(clock)
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "file").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(objects, "_s3", lambda uri: transient.patient(store))  # type: ignore[arg-type]
    return store


FILE = "s3://bucket/file"
BUSY = TRANSIENT["slow down"]


def test_an_outage_of_half_a_minute_costs_little_more_than_that(store: Store, clock: Clock, said: list[str]) -> None:
    def failing() -> Iterator[Exception]:
        while clock.now < 1030.0:
            yield BUSY

    store.errors = failing()
    assert objects.read(FILE) == b"content"
    assert 1030.0 <= clock.now < 1030.0 + transient.LONGEST_PAUSE
    assert store.asked == len(clock.slept) + 1 < 15
    first, last = said
    assert first.startswith("the storage is away or busy, asking again for up to 90 s: OSError: [Errno 16] reason")
    assert last == "the storage answers again after 31 s"


def test_a_hiccup_is_not_worth_a_line(store: Store, clock: Clock, said: list[str]) -> None:
    store.errors = iter([BUSY] * 3)
    assert objects.read(FILE) == b"content"
    assert (clock.slept, said) == ([0.2, 0.4, 0.8], [])


def test_an_outage_that_lasts_ends_all_waiting_together(store: Store, clock: Clock, said: list[str]) -> None:
    store.errors = iter([BUSY] * 1000)
    with pytest.raises(StorageUnreachable, match=r"^cannot read s3://bucket/file: .*reason"):
        objects.read(FILE)
    assert clock.now == 1000.0 + RETRY_SECONDS
    asked = store.asked
    with pytest.raises(StorageUnreachable):
        objects.read(FILE)
    assert (clock.now, store.asked) == (1000.0 + RETRY_SECONDS, asked + 1), "nobody waits for the same outage twice"
    assert len(said) == 1
    clock.now += transient.FORGOTTEN + 1
    store.errors = iter([BUSY] * 5)
    assert objects.read(FILE) == b"content", "later it is another outage"


def test_a_store_that_says_nothing_is_not_listened_to_for_ever(store: Store, clock: Clock) -> None:
    store.seconds = 60.0
    store.errors = iter([TRANSIENT["no answer in time"]] * 1000)
    with pytest.raises(StorageUnreachable):
        objects.read(FILE)
    assert clock.now <= 1000.0 + 121.0


def test_an_hour_of_copying_that_is_cut_off_is_begun_again(store: Store, clock: Clock) -> None:
    store.seconds = 3600.0
    store.errors = iter([TRANSIENT["answer cut off"]])
    assert objects.read(FILE) == b"content"


def test_one_request_in_a_storm_that_lets_others_through_has_an_end(store: Store, clock: Clock) -> None:
    def failing() -> Iterator[Exception]:
        for _ in range(1000):
            transient.outage.over()  # another thread was answered
            yield BUSY

    store.errors = failing()
    with pytest.raises(StorageUnreachable):
        objects.read(FILE)
    assert clock.now == 1000.0 + RETRY_SECONDS


def test_an_unknown_name_is_given_up_soon_unless_it_was_known_before(store: Store, clock: Clock) -> None:
    store.errors = iter([unresolved(socket.EAI_NONAME)] * 1000)
    with pytest.raises(StorageUnreachable):
        objects.read(FILE)
    assert clock.now == 1000.0 + s3_errors.UNRESOLVED
    store.errors = iter(())
    objects.read(FILE)
    store.errors = iter([unresolved(socket.EAI_NONAME)] * 1000)
    with pytest.raises(StorageUnreachable):
        objects.read(FILE)
    assert clock.now == 1000.0 + s3_errors.UNRESOLVED + RETRY_SECONDS


@pytest.mark.parametrize("name", [*MISCONFIGURED, *NEITHER])
def test_what_is_not_transient_is_asked_once(store: Store, clock: Clock, name: str) -> None:
    store.errors = iter([(MISCONFIGURED | NEITHER)[name]])
    with pytest.raises(StorageMisconfigured if name in MISCONFIGURED else StorageError):
        objects.read(FILE)
    assert (store.asked, clock.slept) == (1, [])


def test_nothing_is_an_answer(store: Store, clock: Clock, said: list[str]) -> None:
    store.errors = iter([*[BUSY] * 8, answered("NoSuchKey", 404)])
    with pytest.raises(MissingArtifact):
        objects.read(FILE)
    assert said[-1] == f"the storage answers again after {clock.now - 1000.0:.0f} s"


def test_threads_wait_side_by_side_and_are_told_once(store: Store, clock: Clock, said: list[str]) -> None:
    store.errors = iter(threading_errors := [BUSY] * 4000)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            objects.read(FILE)
        except StorageUnreachable as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 4
    assert len(said) == 1
    assert clock.now < 1000.0 + 2 * RETRY_SECONDS
    assert len(threading_errors) == 4000


def test_whoever_stops_the_work_stops_the_waiting(store: Store, clock: Clock) -> None:
    class Stopped(BaseException):
        pass

    def stop() -> None:
        if clock.now > 1010.0:
            raise Stopped

    transient.outage.before_pause = stop
    store.errors = iter([BUSY] * 1000)
    with pytest.raises(Stopped):
        objects.read(FILE)
    assert clock.now < 1020.0


# -- a real store behind a relay that answers 503 ---------------------------------------------------------------------------------


@pytest.fixture
def relay(s3_environment: S3Server, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """In front of the store; a request of the client's is one request that it sees."""
    relay = Relay(s3_environment.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
    monkeypatch.setattr(s3_errors, "ATTEMPTS", 1)
    yield relay
    relay.close()


OPERATIONS: dict[str, Callable[[str], object]] = {
    "check": objects.check_storage,
    "exists": lambda root: objects.exists(objects.join(root, "there")),
    "read": lambda root: objects.read(objects.join(root, "there")),
    "size": lambda root: objects.size(objects.join(root, "there")),
    "sizes": lambda root: objects.sizes(root, ["there"]),
    "children": lambda root: objects.children(root),
    "write": lambda root: objects.write(objects.join(root, "new"), b"new"),
    "create": lambda root: objects.create(objects.join(root, "new"), b"new"),
    "delete": lambda root: objects.delete(objects.join(root, "there")),
    "localize": lambda root: objects.localize(objects.join(root, "there")).read_bytes(),
}


@pytest.mark.s3
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_outlasts_refused_requests(s3_root: str, relay: Relay, clock: Clock, name: str) -> None:
    objects.write(objects.join(s3_root, "there"), b"content")
    calm = OPERATIONS[name](f"{s3_root}")
    objects.delete(objects.join(s3_root, "new"))
    objects.write(objects.join(s3_root, "there"), b"content")
    with relay.refusing(12):
        assert OPERATIONS[name](s3_root) == calm
    assert relay.refused == 12
    assert len(clock.slept) == 12


@pytest.mark.s3
def test_a_store_that_refuses_everything_ends_in_words(s3_root: str, relay: Relay, clock: Clock) -> None:
    with relay.refusing(), pytest.raises(StorageUnreachable, match=f"cannot look for {s3_root}/a: .*Service Unavailable"):
        objects.exists(objects.join(s3_root, "a"))
    assert clock.now == 1000.0 + RETRY_SECONDS


@pytest.mark.s3
def test_a_wrong_secret_is_no_outage(s3_root: str, relay: Relay, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageMisconfigured, match="SignatureDoesNotMatch"):
        objects.read(objects.join(s3_root, "a"))
    with pytest.raises(StorageRefused, match="SignatureDoesNotMatch"):
        objects.write(objects.join(s3_root, "a"), b"")
    assert clock.slept == []
