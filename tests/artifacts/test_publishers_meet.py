"""Publishers of one artifact at the same time, in every order of their operations, with equal bytes and others, and killed anywhere."""

from __future__ import annotations

import itertools
import os
import re
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from interleavings import Actor, gate, store_of, walk

from bilp.artifacts.artifact import Artifact, find
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.publication import publish, replace
from bilp.errors import StorageError
from bilp.storage import local, objects
from bilp.storage.verification import digest

pytestmark = pytest.mark.slow

Files = Mapping[str, bytes | Path]
ONE, OTHER, THIRD = {"a.bin": b"alpha"}, {"a.bin": b"ALPHA, longer"}, {"a.bin": b"alphb"}
CASES: dict[str, list[Files]] = {
    "equal": [ONE, ONE],
    "other bytes": [ONE, OTHER],
    "other bytes of the same size": [ONE, THIRD],
    "one of two differs": [{**ONE, "same": b"="}, {**OTHER, "same": b"="}],
    "other names": [{**ONE, "mine": b"1"}, {**ONE, "yours": b"2"}],
}


class Meeting:
    """Publishers of the same artifact, each time in a new place below `root`."""

    def __init__(self, root: str, contents: list[Files]) -> None:
        self._root, self._contents, self._numbers = root, contents, itertools.count()
        self.given = contents
        self.uri = ""

    def begin(self) -> list[Callable[[], Artifact]]:
        self.uri = objects.join(self._root, f"{next(self._numbers):05d}")
        return [self._publisher(number) for number in range(len(self._contents))]

    def _publisher(self, number: int) -> Callable[[], Artifact]:
        uri, files = self.uri, self.given[number]
        return lambda: publish(uri, "thing", "key", files, config={}, parents={}, facts={"publisher": number})

    def check(self, actors: list[Actor]) -> int:
        """The end is as it must be; the number of the publisher that came first."""
        artifact = find(self.uri, "thing", "key")
        alive = [actor for actor in actors if not actor.killed]
        assert [actor.error for actor in alive] == [None] * len(alive)
        assert artifact is not None
        assert all(actor.result == artifact for actor in alive), "all have the one that is there"
        artifact.check_sizes()
        winner: int = artifact.fact("publisher")
        assert {name: artifact.read(name) for name in artifact.manifest.files} == self._contents[winner]
        assert {name: artifact.local(name).read_bytes() for name in artifact.manifest.files} == self._contents[winner]
        named = {artifact.place(name).rpartition("/")[2] for name in artifact.manifest.files} | {MANIFEST}
        left = {path.rpartition("/")[2] for actor in actors if actor.killed for path in actor.wrote}
        there = set(objects.children(self.uri))
        assert named <= there
        assert there - named <= left, "only who was killed leaves something"
        return winner


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a file survives a power cut is not the question here."""
    monkeypatch.setattr(os, "fsync", lambda number: None)


@pytest.mark.parametrize("contents", CASES.values(), ids=CASES)
def test_two_publishers_in_every_order(contents: list[Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate(monkeypatch, local, str(tmp_path))
    meeting = Meeting(str(tmp_path), contents)
    winners = [meeting.check(actors) for actors in walk(meeting.begin, orders="all")]
    assert set(winners) == {0, 1}
    assert len(winners) >= 30


@pytest.mark.s3
@pytest.mark.parametrize("contents", [CASES["equal"], CASES["other bytes of the same size"]], ids=["equal", "other bytes"])
def test_two_publishers_in_every_order_on_s3(contents: list[Files], s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate(monkeypatch, *store_of(s3_root))
    meeting = Meeting(s3_root, contents)
    assert {meeting.check(actors) for actors in walk(meeting.begin)} == {0, 1}


@pytest.mark.parametrize("contents", [CASES["equal"], CASES["other bytes of the same size"]], ids=["equal", "other bytes"])
def test_one_of_two_is_killed_anywhere(contents: list[Files], root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate(monkeypatch, *store_of(root))
    meeting = Meeting(root, contents)
    for operations in itertools.count():
        killed = False
        for actors in walk(meeting.begin, {0: operations}, orders=0 if "://" in root else "all"):
            meeting.check(actors)
            killed |= actors[0].killed
        if not killed:
            break
    assert operations > (2 if "://" in root else 6)


def test_three_publishers_that_are_interrupted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate(monkeypatch, local, str(tmp_path))
    meeting = Meeting(str(tmp_path), [ONE, OTHER, THIRD])
    winners = [meeting.check(actors) for actors in walk(meeting.begin, orders=2)]
    assert set(winners) == {0, 1, 2}


@pytest.mark.s3
@pytest.mark.parametrize("content", ["bytes", "file"])
def test_publishers_of_more_than_one_conditional_write_takes(
    content: str, s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, path = store_of(s3_root)
    gate(monkeypatch, s3, path)
    monkeypatch.setattr(s3, "LARGEST_CREATE", 2_000)
    large, other = {"a.bin": b"alpha" * 500}, {"a.bin": b"ALPHA" * 500}
    (tmp_path / "large").write_bytes(large["a.bin"])
    meeting = Meeting(s3_root, [large, other])
    if content == "file":
        meeting.given = [{"a.bin": tmp_path / "large"}, other]
    assert {meeting.check(actors) for actors in walk(meeting.begin, orders=1)} == {0, 1}
    assert [bool(re.fullmatch(r"a\.[0-9a-f]{64}\.bin", name)) for name in objects.children(meeting.uri)] == [False, True]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_lost_answer_costs_nothing(lost: int, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage has done it, the client asks again and hears that something lies there."""
    create, calls = objects.create, itertools.count(1)
    monkeypatch.setattr(objects, "create", lambda uri, data: create(uri, data) and next(calls) != lost)
    artifact = publish(root, "thing", "key", {"a.bin": b"alpha", "b.bin": b"beta"}, config={}, parents={})
    assert artifact == find(root, "thing", "key")
    assert objects.children(root) == [MANIFEST, "a.bin", "b.bin"]


def test_what_a_killed_publisher_left_is_taken_or_removed(root: str) -> None:
    for name, left in {"a.bin": b"alpha", "b.bin": b"half", f"b.{digest(b'beta')[:8]}.bin": b"even that is taken"}.items():
        objects.write(objects.join(root, name), left)
    artifact = publish(root, "thing", "key", {"a.bin": b"alpha", "b.bin": b"beta"}, config={}, parents={})
    assert {name: artifact.read(name) for name in artifact.manifest.files} == {"a.bin": b"alpha", "b.bin": b"beta"}
    assert objects.children(root) == [MANIFEST, "a.bin", f"b.{digest(b'beta')}.bin"]


def test_a_folder_in_the_place_of_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    (tmp_path / "a.bin" / "inside").write_bytes(b"of somebody else")
    artifact = publish(str(tmp_path), "thing", "key", ONE, config={}, parents={})
    assert artifact.read("a.bin") == b"alpha"
    assert (tmp_path / "a.bin" / "inside").read_bytes() == b"of somebody else"


def test_who_may_not_delete_publishes_nevertheless(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(uri: str) -> None:
        raise StorageError(f"cannot delete {uri}")

    objects.write(objects.join(root, "a.bin"), b"half")
    monkeypatch.setattr(objects, "delete", refused)
    assert publish(root, "thing", "key", ONE, config={}, parents={}).read("a.bin") == b"alpha"


def test_an_artifact_is_replaced_by_several_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replace what has become wrong, while a third publishes what was right once more."""
    gate(monkeypatch, local, str(tmp_path))
    numbers, places = itertools.count(), list[str]()

    def begin() -> list[Callable[[], Artifact]]:
        marks = itertools.count()
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(marks) << 100))  # the same in every run
        uri = str(tmp_path / f"{next(numbers):05d}")
        places.append(uri)
        former = publish(uri, "thing", "key", {"a.bin": b"former"}, config={}, parents={})
        replacing = [partial(replace, former, files, config={}, parents={}, facts={}) for files in (ONE, OTHER)]
        return [*replacing, lambda: publish(uri, "thing", "key", ONE, config={}, parents={})]

    contents = set()
    for actors in walk(begin, orders=1):
        assert [actor.error for actor in actors] == [None] * 3
        artifact = find(places[-1], "thing", "key")
        assert artifact in [actor.result for actor in actors[:2]]
        assert artifact is not None
        contents.add(artifact.read("a.bin"))
        assert objects.read(objects.join(places[-1], "a.bin")) == b"former", "who reads the former goes on"
    assert contents == {b"alpha", b"ALPHA, longer"}
