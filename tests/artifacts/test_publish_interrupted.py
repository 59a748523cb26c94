"""A publisher that is killed leaves nothing that looks like an artifact, wherever it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

from bilp.artifacts.artifact import find
from bilp.artifacts.publication import publish
from bilp.storage import objects

# `os` of the standard library is what both pathlib and bilp.storage.local reach the file system through.
PUBLISHER = """
import os, signal, sys
from bilp.storage import objects as storage
from bilp.artifacts.publication import publish

# Each of them is a process of its own, which has imported everything already.
children = {}
for uri, where in zip(sys.argv[1::2], sys.argv[2::2]):
    child = os.fork()
    if not child:
        break
    children[child] = where
else:
    for child, where in children.items():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), where, flush=True)
    sys.exit()
die = lambda *ignored, **also: os.kill(os.getpid(), signal.SIGKILL)

def nth(function, number):
    calls = iter(range(1, 100))
    return lambda *given, **named: die() if next(calls) == number else function(*given, **named)

if where == "before the first file":
    storage.create = die
elif where == "between two files":
    storage.create = nth(storage.create, 2)
elif where == "inside a file":
    os.fsync = nth(os.fsync, 3)  # each file is one sync of its content and one of its folder
elif where == "before a file gets its name":
    os.link = nth(os.link, 2)
elif where == "before the manifest":
    storage.create = nth(storage.create, 3)
elif where == "before the manifest gets its name":
    os.link = nth(os.link, 3)
publish(uri, "thing", "k1", {"a": b"alpha", "b": b"beta" * 100_000}, config={}, parents={})
"""


WHERES = {
    "before the first file": [],
    "between two files": ["a"],
    "inside a file": ["a"],
    "before a file gets its name": ["a"],
    "before the manifest": ["a", "b"],
    "before the manifest gets its name": ["a", "b"],
}
"""Where a publisher dies, and the files that it leaves."""


def run_publishers(wheres: Mapping[str, str]) -> dict[str, int]:
    """The status with which each publisher ends, by where it dies, of those that publish at these URIs."""
    pairs = [word for where, uri in wheres.items() for word in (uri, where)]
    lines = subprocess.run([sys.executable, "-c", PUBLISHER, *pairs], timeout=60, check=True, capture_output=True, text=True).stdout
    return {where: int(status) for status, _, where in (line.partition(" ") for line in lines.splitlines())}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where every publisher was that the tests of this module look at, by what killed it."""
    found = {where: str(tmp_path_factory.mktemp("store") / "k1") for where in (*WHERES, "nowhere")}
    assert run_publishers(found) == {**dict.fromkeys(WHERES, -signal.SIGKILL), "nowhere": 0}
    return found


@pytest.mark.parametrize(("where", "left"), WHERES.items(), ids=WHERES)
def test_a_killed_publisher_leaves_no_artifact_and_the_next_one_succeeds(where: str, left: list[str], places: dict[str, str]) -> None:
    uri = places[where]
    assert find(uri, "thing") is None
    assert objects.children(uri) == left
    assert all(objects.read(objects.join(uri, name)) == {"a": b"alpha", "b": b"beta" * 100_000}[name] for name in left)

    artifact = publish(uri, "thing", "k1", {"a": b"alpha", "b": b"beta" * 100_000}, config={}, parents={})
    assert artifact.read("b") == b"beta" * 100_000
    assert find(uri, "thing", "k1") == artifact
    assert objects.children(uri) == ["_manifest.json", "a", "b"]


def test_the_publisher_of_these_tests_succeeds_if_nobody_kills_it(places: dict[str, str]) -> None:
    assert find(places["nowhere"], "thing", "k1") is not None


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.parametrize(("where", "left"), [("between two files", ["a"]), ("before the manifest", ["a", "b"])])
def test_a_killed_publisher_leaves_no_artifact_on_s3(where: str, left: list[str], s3_root: str) -> None:
    assert run_publishers({where: s3_root}) == {where: -signal.SIGKILL}
    assert find(s3_root, "thing") is None
    assert objects.children(s3_root) == left
    assert publish(s3_root, "thing", "k1", {"a": b"new"}, config={}, parents={}).read("a") == b"new"
