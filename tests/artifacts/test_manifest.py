from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bilp.artifacts import provenance, tables
from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.manifest_file import MANIFEST, FileEntry
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish
from bilp.config import PruneConfig
from bilp.config.base import as_recorded
from bilp.errors import ConfigError, DamagedArtifact, IncompatibleArtifact, MissingArtifact, StorageError
from bilp.storage import objects
from bilp.storage.verification import digest

FILES: dict[str, bytes | Path] = {"a.bin": b"alpha", "deep/b.bin": b"beta" * 1000, "empty": b""}
FACTS = {"classes": ("cat", "dog"), "shape": (3, 8, 8), "mean": [0.5, 0.25, 0.125], "ipc": 10}


def publish_one(uri: str, files: dict[str, bytes | Path] = FILES, key: str = "k1", **facts: Any) -> Artifact:
    return publish(uri, "thing", key, files, config=PruneConfig(), parents={"dataset": "s3://b/d"}, facts={**FACTS, **facts})


def parquet(origin: dict[str, Any] | None = None) -> tuple[pa.Table, bytes]:
    table = pa.table(
        {"iteration": np.arange(3), "loss": np.ones(3), "real_used": np.arange(3), "dropped_share": np.zeros(3)}, schema=tables.LOSSES
    )
    return table, encode(table, tables.LOSSES, origin or {})


def test_what_is_published_is_found_opened_and_read(root: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"gamma" * 10_000)
    uri = objects.join(root, "selections/k1")
    published = publish_one(uri, {**FILES, "large": tmp_path / "large"})
    for artifact in (published, find(uri, "thing"), find(uri, "thing", "k1"), open_artifact(uri, "thing")):
        assert artifact == published
        assert artifact.read("a.bin") == b"alpha"
        assert artifact.read("empty") == b""
        assert artifact.local("deep/b.bin").read_bytes() == b"beta" * 1000
        assert artifact.read("large") == artifact.local("large").read_bytes() == b"gamma" * 10_000
        assert artifact.fact("classes") == ["cat", "dog"]
    assert published.manifest.files["large"] == FileEntry(sha256=digest(b"gamma" * 10_000), size=50_000)
    assert published.manifest.config == as_recorded(PruneConfig())
    assert published.manifest.parents == {"dataset": "s3://b/d"}
    assert abs((datetime.now(UTC) - datetime.fromisoformat(published.manifest.created_at)).total_seconds()) < 3600


def test_a_manifest_is_json_that_says_everything(root: str) -> None:
    publish_one(root)
    stored = json.loads(objects.read(objects.join(root, MANIFEST)))
    assert set(stored) == {"kind", "key", "created_at", "parents", "config", "facts", "files", "provenance"}
    assert stored["files"]["a.bin"] == {"sha256": digest(b"alpha"), "size": 5}
    assert {"bilp", "torch", "numpy", "pyarrow", "python", "commit", "platform"} == set(stored["provenance"])
    assert stored["provenance"]["pyarrow"] == pa.__version__


def test_files_without_a_manifest_are_nothing_and_are_gone_afterwards(root: str) -> None:
    objects.write(objects.join(root, "a.bin"), b"half")
    assert find(root, "thing") is None
    with pytest.raises(MissingArtifact, match=r"no complete thing at .*: run the stage that makes it"):
        open_artifact(root, "thing")
    artifact = publish_one(root)
    assert artifact.read("a.bin") == artifact.local("a.bin").read_bytes() == b"alpha"
    assert objects.children(root) == ["_manifest.json", f"a.{digest(b'alpha')[:8]}.bin", "deep", "empty"]


def test_publishing_again_returns_the_first_and_writes_nothing(root: str) -> None:
    first = publish_one(root)
    again = publish_one(root, {"a.bin": b"other bytes"}, ipc=99)
    assert again == first
    assert again.read("a.bin") == b"alpha"


def test_one_of_several_publishers_wins_and_all_get_its_artifact(root: str) -> None:
    publishers, start = 6, threading.Barrier(6)

    def attempt(writer: int) -> Artifact:
        start.wait()
        return publish_one(root, writer=writer)

    with ThreadPoolExecutor(publishers) as pool:
        artifacts = list(pool.map(attempt, range(publishers)))
    assert all(artifact == artifacts[0] for artifact in artifacts)
    assert find(root, "thing") == artifacts[0]
    assert artifacts[0].read("deep/b.bin") == FILES["deep/b.bin"]


def test_files_that_are_stored_already_become_those_of_another_artifact(root: str) -> None:
    """By a second name in a folder, by a copy that the store makes on S3; the first may be removed."""
    part = publish(objects.join(root, "part"), "thing", "k1", {"pixels.bin": b"pixels", "other": b"x"}, config={}, parents={})
    for _ in range(2):
        whole = publish(
            objects.join(root, "whole"), "thing", "k2", {"train-0.bin": part.known("pixels.bin"), "b": b"y"}, config={}, parents={}
        )
    inodes = {Path(each.place(name)).stat().st_ino for each, name in ((part, "pixels.bin"), (whole, "train-0.bin")) if "://" not in root}
    assert len(inodes) <= 1
    objects.delete(part.uri)
    assert (whole.read("train-0.bin"), whole.local("train-0.bin").read_bytes()) == (b"pixels", b"pixels")
    whole.check_content()
    other = publish(objects.join(root, "other"), "thing", "k3", {"a": b"1"}, config={}, parents={})
    objects.write(objects.join(root, "mixed", "a"), b"of somebody who was killed")
    mixed = publish(objects.join(root, "mixed"), "thing", "k4", {"a": other.known("a")}, config={}, parents={})
    assert mixed.read("a") == b"1"


@pytest.mark.parametrize(("kind", "key", "reason"), [("score", None, "kind 'thing'"), ("thing", "k2", "key 'k1', expected 'k2'")])
def test_find_names_an_artifact_that_should_not_be_there(root: str, kind: str, key: str | None, reason: str) -> None:
    publish_one(root)
    with pytest.raises(DamagedArtifact, match=reason) as caught:
        find(root, kind, key)
    assert root in str(caught.value)


@pytest.mark.parametrize("content", [b"", b'{"kind": "thi', b"[]", b'{"kind": "thing"}', b"\xff\xfe"])
def test_a_manifest_that_cannot_be_read_is_damage(root: str, content: bytes) -> None:
    publish_one(root)
    objects.write(objects.join(root, MANIFEST), content)
    attempts: list[Callable[[], object]] = [
        lambda: find(root, "thing"),
        lambda: open_artifact(root, "thing"),
        lambda: publish_one(root),
    ]
    for attempt in attempts:
        with pytest.raises(DamagedArtifact, match=r"_manifest.json cannot be read .*compute it again"):
            attempt()


@pytest.mark.parametrize("damage", [b"alphb", b"alph", b"alpha "])
def test_damaged_files_are_named_with_both_checksums_and_never_used(root: str, damage: bytes) -> None:
    artifact = publish_one(root)
    objects.write(objects.join(root, "a.bin"), damage)
    for attempt in (artifact.read, artifact.local):
        with pytest.raises(DamagedArtifact) as caught:
            attempt("a.bin")
        for part in (objects.join(root, "a.bin"), digest(b"alpha"), digest(damage)):
            assert part in str(caught.value)
    assert artifact.read("empty") == b""


def test_a_file_that_vanished_is_damage(root: str) -> None:
    artifact = publish_one(root)
    objects.delete(objects.join(root, "a.bin"))
    for attempt in (artifact.read, artifact.local):
        with pytest.raises(DamagedArtifact, match=rf"a\.bin is damaged: expected sha256 {digest(b'alpha')}, found no file"):
            attempt("a.bin")


def test_an_unknown_file_or_fact_is_answered_with_what_there_is(tmp_path: Path) -> None:
    artifact = publish_one(str(tmp_path / "a"))
    for attempt in (artifact.read, artifact.local):
        with pytest.raises(MissingArtifact, match=r"no file 'c.bin'; it has: a.bin, deep/b.bin, empty"):
            attempt("c.bin")
    with pytest.raises(IncompatibleArtifact, match=r"no fact 'std' \(it states: classes, ipc, mean, shape\)"):
        artifact.fact("std")


def test_open_artifact_compares_every_expected_fact(root: str) -> None:
    publish_one(root)
    opened = open_artifact(root, "thing", {"shape": (3, 8, 8), "classes": ["cat", "dog"], "mean": (0.5, 0.25, 0.125)})
    assert opened.fact("ipc") == 10
    with pytest.raises(IncompatibleArtifact) as caught:
        open_artifact(root, "thing", {"shape": (1, 8, 8), "classes": ["dog", "cat"], "ipc": 10, "std": [1.0]})
    message = str(caught.value)
    assert root in message
    assert "shape: expected [1,8,8], found [3,8,8]" in message
    assert 'classes: expected ["dog","cat"], found ["cat","dog"]' in message
    assert "std: expected [1.0], found nothing" in message
    assert "ipc" not in message
    assert "delete this one and compute it again" in message


def test_open_artifact_refuses_another_kind(tmp_path: Path) -> None:
    uri = str(tmp_path / "a")
    publish_one(uri)
    with pytest.raises(IncompatibleArtifact, match="is of kind thing, and score is needed here"):
        open_artifact(uri, "score")


@pytest.mark.parametrize("facts", [{"mean": float("nan")}, {"labels": np.arange(3)}, {"when": datetime(2020, 1, 1, tzinfo=UTC)}])
def test_facts_that_json_cannot_hold_are_refused_before_anything_is_written(tmp_path: Path, facts: dict[str, Any]) -> None:
    uri = str(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"facts\.(mean|labels|when)"):
        publish_one(uri, **facts)
    assert not objects.exists(uri)


@pytest.mark.parametrize("name", [MANIFEST, "../outside", "/absolute"])
def test_impossible_file_names_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError):
        publish_one(str(tmp_path / "a"), {"a.bin": b"x", name: b"x"})
    assert not objects.exists(str(tmp_path / "a"))


def test_a_table_is_read_with_its_schema(root: str) -> None:
    table, data = parquet({"seed": 3})
    artifact = publish_one(root, {"losses.parquet": data})
    assert artifact.table("losses.parquet", tables.LOSSES).equals(table)
    assert artifact.table("losses.parquet", tables.LOSSES, ["loss"]).column_names == ["loss"]
    with pytest.raises(IncompatibleArtifact, match=r"losses\.parquet: .*another schema"):
        artifact.table("losses.parquet", tables.ITE)


def test_parquet_readers_pass_over_the_manifest(tmp_path: Path) -> None:
    import pandas as pd

    table, data = parquet()
    publish_one(str(tmp_path / "a"), {"losses.parquet": data})
    assert pd.read_parquet(tmp_path / "a").equals(table.to_pandas())


def test_a_published_table_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        publish_one(str(tmp_path / name), {"losses.parquet": parquet()[1]})
    assert (tmp_path / "one/losses.parquet").read_bytes() == (tmp_path / "two/losses.parquet").read_bytes()


def test_provenance_cannot_be_changed_by_who_asked_for_it() -> None:
    provenance.provenance()["torch"] = "changed"
    assert provenance.provenance()["torch"] != "changed"
