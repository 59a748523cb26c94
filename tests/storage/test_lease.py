"""Leases: one holder at a time, takeovers, and what a holder that was given up for dead can still do to the artefact."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bilp import lease, manifest, publication, storage
from bilp.errors import DamagedArtefact, LeaseLost
from bilp.storage import children, join

LONG = 3600.0
REPOSITORY = Path(__file__).resolve().parent.parent.parent


def nobody(owner: str) -> bool:
    return False


def everybody(owner: str) -> bool:
    return True


def publish(uri: str, content: bytes = b"same bytes") -> manifest.Artefact:
    return publication.publish(uri, "thing", "key", {"file.bin": content}, config={}, parents={})


def test_one_of_many_claimants_gets_it(root: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(lambda number: lease.take(join(root, "l"), f"owner {number}", LONG, nobody), range(6)))
    (winner,) = [found for found in taken if found is not None]
    assert lease.holder(join(root, "l")) == winner.claim
    assert winner.claim.attempt == 1


def test_it_can_be_taken_again_after_release_expiry_or_its_owners_end(root: str) -> None:
    uri = join(root, "l")
    first = lease.take(uri, "a", LONG, nobody)
    assert first is not None
    assert lease.take(uri, "b", LONG, nobody) is None
    first.release()
    second = lease.take(uri, "b", -1.0, nobody)  # expired when it begins
    assert second is not None
    third = lease.take(uri, "c", LONG, nobody)
    assert third is not None
    asked: list[str] = []
    fourth = lease.take(uri, "d", LONG, lambda owner: not asked.append(owner))
    assert fourth is not None
    assert asked == ["c"]
    fifth = lease.take(uri, "d", LONG, nobody)
    assert fifth is not None, "a process of the same run knows that the one before it ended"
    assert [taken.claim.attempt for taken in (first, second, third, fourth, fifth)] == [1, 2, 3, 4, 5]


def test_a_renewal_counts_more_than_the_claim(root: str) -> None:
    uri = join(root, "l")
    first = lease.take(uri, "a", -1.0, nobody)
    assert first is not None
    first.seconds = LONG
    first.renew()
    assert lease.take(uri, "b", LONG, nobody) is None


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
    assert late == manifest.find(uri, "thing", "key")
    assert late.read("file.bin") == b"same bytes"
    assert children(uri) == [manifest.MANIFEST, "file.bin"]


def test_without_a_lease_publishing_asks_nothing(root: str) -> None:
    lease.check()
    lease.stop_if_lost()
    assert publish(join(root, "a")).read("file.bin") == b"same bytes"
    assert children(root) == ["a"]


def test_a_damaged_claim_is_named(root: str) -> None:
    storage.write(join(root, "l", "000001.json"), b"{}")
    with pytest.raises(DamagedArtefact, match=r"000001\.json is not the claim"):
        lease.take(join(root, "l"), "a", LONG, nobody)


def test_of_processes_that_claim_at_once_one_wins(tmp_path: Path) -> None:
    program = (
        "import sys; from bilp import lease\n"
        "sys.stdin.read()\n"
        "print(lease.take(sys.argv[1], sys.argv[2], 3600.0, lambda owner: False) is not None)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "l")]
    waiting = [
        subprocess.Popen([*command, str(number)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for process in waiting:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    assert sorted(process.communicate()[0].strip() for process in waiting) == ["False", "False", "True"]
