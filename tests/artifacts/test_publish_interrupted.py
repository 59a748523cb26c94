"""A publisher that is killed leaves nothing that looks like an artifact, wherever it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bilp.artifacts.artifact import find
from bilp.artifacts.publication import publish
from bilp.storage import objects

# `os` of the standard library is what both pathlib and bilp.storage.local reach the file system through.
PUBLISHER = """
import os, signal, sys
from bilp.storage import objects as storage
from bilp.artifacts.publication import publish

uri, where = sys.argv[1:]
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


def run_publisher(uri: str, where: str) -> int:
    return subprocess.run([sys.executable, "-c", PUBLISHER, uri, where], timeout=60, check=False).returncode


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("before the first file", []),
        ("between two files", ["a"]),
        ("inside a file", ["a"]),
        pytest.param("before a file gets its name", ["a"], marks=pytest.mark.slow),
        pytest.param("before the manifest", ["a", "b"], marks=pytest.mark.slow),
        ("before the manifest gets its name", ["a", "b"]),
    ],
)
def test_a_killed_publisher_leaves_no_artifact_and_the_next_one_succeeds(where: str, left: list[str], tmp_path: Path) -> None:
    uri = str(tmp_path / "store" / "k1")
    assert run_publisher(uri, where) == -signal.SIGKILL
    assert find(uri, "thing") is None
    assert objects.children(uri) == left
    assert all(objects.read(objects.join(uri, name)) == {"a": b"alpha", "b": b"beta" * 100_000}[name] for name in left)

    artifact = publish(uri, "thing", "k1", {"a": b"alpha", "b": b"beta" * 100_000}, config={}, parents={})
    assert artifact.read("b") == b"beta" * 100_000
    assert find(uri, "thing", "k1") == artifact
    assert objects.children(uri) == ["_manifest.json", "a", "b"]


def test_the_publisher_of_these_tests_succeeds_if_nobody_kills_it(tmp_path: Path) -> None:
    assert run_publisher(str(tmp_path / "k1"), "nowhere") == 0
    assert find(str(tmp_path / "k1"), "thing", "k1") is not None


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.parametrize(("where", "left"), [("between two files", ["a"]), ("before the manifest", ["a", "b"])])
def test_a_killed_publisher_leaves_no_artifact_on_s3(where: str, left: list[str], s3_root: str) -> None:
    assert run_publisher(s3_root, where) == -signal.SIGKILL
    assert find(s3_root, "thing") is None
    assert objects.children(s3_root) == left
    assert publish(s3_root, "thing", "k1", {"a": b"new"}, config={}, parents={}).read("a") == b"new"
