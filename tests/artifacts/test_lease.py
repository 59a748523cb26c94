"""Leases: one holder at a time, takeovers, and what a holder that was given up for dead can still do to the artifact."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from bilp import notices
from bilp.artifacts import artifact, lease, publication
from bilp.artifacts.manifest_file import MANIFEST
from bilp.errors import LeaseLost
from bilp.storage import objects
from bilp.storage.objects import children, join

LONG = 3600.0
TERM = 60.0
TIMEOUT = TERM * lease.TERMS_OF_SILENCE
REPOSITORY = Path(__file__).resolve().parent.parent.parent


def nobody(owner: str) -> bool:
    return False


def everybody(owner: str) -> bool:
    return True


class Watcher:
    """Somebody who wants a lease and asks for it every ten seconds, by a clock of its own."""

    def __init__(self, uri: str, owner: str = "watcher") -> None:
        self.uri, self.owner, self.now = uri, owner, 1e6
        self.watch = lease.Watch(TERM, lambda: self.now)

    def take(self, after: float = 0.0) -> lease.Lease | None:
        self.now += after
        return lease.take(self.uri, self.owner, TERM, nobody, self.watch)

    def waits(self, seconds: float) -> float:
        """Seconds until it gets the lease; raises AssertionError if that is longer than it may take."""
        for waited in range(0, int(seconds), 10):
            if self.take(10.0 if waited else 0.0) is not None:
                return float(waited)
        raise AssertionError(f"nothing after {seconds:.0f} s")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said, from here on."""
    lines: list[str] = []
    monkeypatch.setattr(notices, "_listener", lines.append)
    monkeypatch.setattr(notices, "_said", set())
    return lines


def write_claim(uri: str, number: int | str, mark: str = "json", **fields: object) -> None:
    """A claim, or what marks it, whose fields are as somebody else wrote them."""
    name = f"{number:06d}" if isinstance(number, int) else number
    claim = {"owner": "flow-run:another", "attempt": 1, "expires_at": 0.0, "token": "t"} | fields
    objects.write(join(uri, f"{name}.{mark}"), json.dumps(claim).encode())


def publish(uri: str, content: bytes = b"same bytes") -> artifact.Artifact:
    return publication.publish(uri, "thing", "key", {"file.bin": content}, config={}, parents={})


def test_one_of_many_claimants_gets_it(root: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(lambda number: lease.take(join(root, "l"), f"owner {number}", LONG, nobody), range(6)))
    (winner,) = [found for found in taken if found is not None]
    assert lease.holder(join(root, "l")) == lease.Holder(1, winner.claim.owner)
    assert winner.claim.attempt == 1


def test_it_can_be_taken_again_after_release_silence_or_its_owners_end(root: str) -> None:
    uri = join(root, "l")
    first = lease.take(uri, "a", TERM, nobody)
    assert first is not None
    assert lease.take(uri, "b", TERM, nobody) is None
    first.release()
    second = lease.take(uri, "b", TERM, nobody)
    assert second is not None
    watcher = Watcher(uri, "c")
    assert watcher.waits(200.0) == 90.0, "what was silent before anybody watched does not count"
    asked: list[str] = []
    fourth = lease.take(uri, "d", TERM, lambda owner: not asked.append(owner))
    assert fourth is not None
    assert asked == ["c"]
    fifth = lease.take(uri, "d", TERM, nobody)
    assert fifth is not None, "a process of the same run knows that the one before it ended"
    assert [taken.claim.attempt for taken in (first, second, fourth, fifth)] == [1, 2, 4, 5]


def test_whoever_renews_keeps_it_for_as_long_as_it_takes(root: str) -> None:
    held = lease.take(join(root, "l"), "a", TERM, nobody)
    watcher = Watcher(join(root, "l"))
    assert held is not None
    for _ in range(10):
        assert watcher.take(20.0) is None
        assert watcher.take(TIMEOUT / 2) is None
        held.renew()
    assert watcher.watch.holder == lease.Holder(1, "a")
    assert watcher.take() is None
    assert watcher.waits(200.0) == 90.0


def test_time_in_which_nobody_looked_is_not_silence(root: str) -> None:
    """A watcher that was frozen, or that the storage did not answer, saw nothing of a holder that lives."""
    held = lease.take(join(root, "l"), "a", TERM, nobody)
    watcher = Watcher(join(root, "l"))
    assert held is not None
    assert [watcher.take(seconds) for seconds in (0.0, 1000.0, 1000.0, TIMEOUT / 2, TIMEOUT / 2)] == [None] * 5
    assert watcher.take(1.0) is not None


def test_an_answer_that_takes_long_is_no_silence_either(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = lease.take(join(root, "l"), "a", TERM, nobody)
    watcher, names = Watcher(join(root, "l")), objects.children
    assert held is not None
    assert watcher.take() is None

    def late(seconds: float) -> None:
        def answer(uri: str) -> list[str]:
            watcher.now += seconds
            return names(uri)

        monkeypatch.setattr(objects, "children", answer)

    late(85.0)
    assert watcher.take() is None
    late(0.0)
    assert [watcher.take(seconds) for seconds in (TIMEOUT / 2, TIMEOUT / 2 - 1.0)] == [None] * 2, "from the answer on"
    late(TIMEOUT / 4)
    assert watcher.take() is None, "it shows how things were when it was asked for, at best"
    late(0.0)
    assert watcher.take(1.0) is not None


@pytest.mark.parametrize("mark", ["json", "renewed"])
@pytest.mark.parametrize("expires_at", [0.0, -1e300, 32503680000.0, 1e300, float("nan"), float("inf"), "soon", None, [1]])
def test_what_a_claim_says_of_its_end_counts_for_nothing(tmp_path: Path, mark: str, expires_at: object) -> None:
    uri = str(tmp_path / "l")
    write_claim(uri, 1)
    write_claim(uri, 1, mark, expires_at=expires_at)
    watcher = Watcher(uri)
    assert watcher.take() is None, "it may be alive"
    assert watcher.take(TIMEOUT / 2) is None
    write_claim(uri, 1, "renewed", expires_at=expires_at, token="another")
    assert watcher.take(TIMEOUT / 2) is None, "it is alive"
    assert watcher.take() is None
    assert watcher.waits(200.0) == 90.0


@pytest.mark.parametrize("seconds", [-1e9, -61.0, 61.0, 1e9])
def test_a_clock_that_is_wrong_takes_nothing_from_the_living(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    uri = str(tmp_path / "l")
    held = lease.take(uri, "a", TERM, nobody)
    assert held is not None
    # The watcher's, and from here on the holder's.
    monkeypatch.setattr(lease, "time", SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic))
    watcher = Watcher(uri)
    for _ in range(8):
        assert watcher.take(20.0) is None
        held.renew()
    assert watcher.take() is None
    assert watcher.waits(200.0) == 90.0


@pytest.mark.parametrize("last", [999_998, 999_999, 1_000_000, 10**18, 10**90])
def test_numbers_have_any_length(root: str, last: int) -> None:
    uri = join(root, "l")
    write_claim(uri, 7)
    write_claim(uri, last)
    for number in (last + 1, last + 2):
        held = Watcher(uri, f"run {number}")
        assert held.take() is None
        taken = lease.take(uri, f"run {number}", TERM, everybody)
        assert taken is not None
        assert taken.claim.attempt == number
        assert lease.holder(uri) == lease.Holder(number, f"run {number}")
        taken.renew()
    write_claim(uri, last + 3)
    with pytest.raises(LeaseLost):
        taken.renew()


def test_what_is_no_claim_is_passed_over_and_said_once(tmp_path: Path, said: list[str]) -> None:
    uri = str(tmp_path / "l")
    names = [
        "notes.txt",
        "12.json",
        "000000.json",
        "0000012.json",
        "\u0661\u0661\u0661\u0661\u0661\u0661.json",
        f"{10**150}.json",
        "000009.json.bak",
    ]
    write_claim(uri, 3)
    for name in names:
        objects.write(join(uri, name), b"x")
    objects.write(join(uri, "000003.released"), b"")
    taken = lease.take(uri, "a", TERM, nobody)
    assert taken is not None
    assert taken.claim.attempt == 4
    assert lease.last_sign(uri)
    assert sorted(said) == sorted(f"{join(uri, name)} is no claim of a lease: passed over" for name in names)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b"\xff\x00", b'{"owner": 3}', b"[" * 100_000, b'{"owner": "\\u001b[2J"}', b'{"owner": "' + b"x" * 9999 + b'"}'],
)
def test_a_claim_of_nobody_is_watched_like_any_other(tmp_path: Path, said: list[str], content: bytes) -> None:
    uri = str(tmp_path / "l")
    objects.write(join(uri, "000001.json"), content)
    watcher = Watcher(uri)
    assert watcher.waits(200.0) == 90.0
    assert watcher.watch.holder == lease.Holder(1, "")
    assert said == [f"{join(uri, '000001.json')} is not the claim of a lease: it is passed over if nobody renews it"]


def test_versions_that_compare_clocks_understand_what_is_written(tmp_path: Path) -> None:
    """They refuse unknown fields, read numbers of six digits, and take over what `expires_at` says is over."""
    uri, now = str(tmp_path / "l"), time.time()
    held = lease.take(uri, "a", TERM, nobody)
    assert held is not None
    held.renew()
    for name in ("000001.json", "000001.renewed"):
        content = json.loads(objects.read(join(uri, name)))
        assert content.keys() == {"owner", "attempt", "expires_at", "token"}
        assert now + TERM <= content["expires_at"] < now + TERM + 60


def test_many_stale_claims_cost_no_more_requests_than_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("children", "read", "write", "create", "exists"):
        real = getattr(objects, name)
        monkeypatch.setattr(objects, name, lambda *given, name=name, real=real, **more: (asked.append(name), real(*given, **more))[1])

    def requests(work: Callable[[], object]) -> list[str]:
        asked.clear()
        work()
        return list(asked)

    for count in (1, 10, 2500):
        uri = str(tmp_path / str(count))
        (tmp_path / str(count)).mkdir()
        for number in range(1, count + 1):
            (tmp_path / str(count) / f"{number:06d}.json").write_text('{"owner": "a"}')
        watcher = Watcher(uri)
        assert requests(watcher.take) == ["children", "read"]
        assert requests(lambda uri=uri: lease.last_sign(uri)) == ["children", "read"]
        assert requests(lambda uri=uri: lease.take(uri, "b", TERM, everybody)) == ["children", "read", "create"]
        write_claim(uri, count + 1, "renewed")
        assert requests(watcher.take) == ["children", "read", "read"]


def test_the_background_renews_and_the_end_releases(root: str) -> None:
    uri = join(root, "l")
    held = lease.take(uri, "a", 0.03, nobody)
    assert held is not None
    renewed = threading.Event()
    write = held.renew

    def renew() -> None:
        write()
        renewed.set()

    held.renew = renew  # type: ignore[method-assign]
    with lease.holding(held):
        assert renewed.wait(20)
    assert children(uri) == ["000001.json", "000001.released", "000001.renewed"]


def test_who_lost_it_publishes_nothing(root: str) -> None:
    """The stale worker comes back after its work was given to another: with other bytes, to see whose are there."""
    uri = join(root, "a")
    stale = lease.take(join(root, "l"), "stale", LONG, nobody)
    assert stale is not None
    with lease.holding(stale):
        fresh = lease.take(join(root, "l"), "fresh", LONG, everybody)
        assert fresh is not None
        with pytest.raises(LeaseLost, match=r"attempt 1 by stale"):
            publish(uri, b"stale bytes")
        assert children(uri) == []
        with pytest.raises(LeaseLost):
            lease.stop_if_lost()
    with lease.holding(fresh):
        published = publish(uri, b"fresh bytes")
    assert published.read("file.bin") == b"fresh bytes"
    assert "000001.released" not in children(join(root, "l")), "what is lost cannot be released"


@pytest.mark.parametrize("content", [b"same bytes", b"other bytes"])
def test_a_publisher_that_comes_too_late_changes_nothing(content: bytes, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen after the question and before its first file, while another publishes."""
    uri, check, turns = join(root, "a"), lease.check, iter(["frozen"])

    def frozen() -> None:
        if next(turns, None):
            publish(uri)
        check()

    monkeypatch.setattr(lease, "check", frozen)
    late = publish(uri, content)
    assert late == artifact.find(uri, "thing", "key")
    assert late.read("file.bin") == b"same bytes"
    assert children(uri) == [MANIFEST, "file.bin"]


def test_without_a_lease_publishing_asks_nothing(root: str) -> None:
    lease.check()
    lease.stop_if_lost()
    assert publish(join(root, "a")).read("file.bin") == b"same bytes"
    assert children(root) == ["a"]


# Three processes that begin when the last of them is there.
CLAIMERS = """
import os, sys
from bilp.artifacts import lease
reading, writing = os.pipe()
for number in range(3):
    if not os.fork():
        os.close(writing)
        os.read(reading, 1)
        won = lease.take(sys.argv[1], str(number), 3600.0, lambda owner: False) is not None
        os.write(1, f"{won}\\n".encode())  # at once, as the others write, too
        os._exit(0)
os.close(writing)
for _ in range(3):
    os.wait()
"""


def test_of_processes_that_claim_at_once_one_wins(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIMERS, str(tmp_path / "l")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == ["False", "False", "True"]
