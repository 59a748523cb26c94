"""Who may read what is written: results follow the user's umask, because teams share folders; everything else is one user's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bilp.storage import objects
from bilp.storage.scratch import scratch_folder
from bilp.text import unexpected


@pytest.fixture(params=[0o022, 0o002, 0o077, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("links", [True, False])
def test_results_follow_the_umask_and_are_never_wider_on_their_way(
    tmp_path: Path, umask: int, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seen, sync = tmp_path / "store", set[int](), os.fsync

    def look(descriptor: int) -> None:
        seen.update(mode(path) for path in store.rglob("*") if path.is_file())
        sync(descriptor)

    def refuse(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", look)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    with scratch_folder("some-") as folder:
        (folder / "built").write_bytes(b"x")
        objects.upload(folder / "built", str(store / "deep" / "uploaded"))
    objects.write(str(store / "deep" / "written"), b"x")
    objects.create(str(store / "deep" / "created"), b"x")
    found = [path for path in store.rglob("*") if path.is_file()]
    assert len(found) == 3
    assert seen | {mode(path) for path in found} == {0o666 & ~umask}
    assert mode(store / "deep") == 0o777 & ~umask


@pytest.mark.usefixtures("umask")
def test_what_is_built_and_what_went_wrong_is_for_one_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with scratch_folder("some-") as folder:
        assert mode(folder) == 0o700
    files = [unexpected.keep(RuntimeError("wrong"), "counting sheep") for _ in range(2)]
    assert {mode(file) for file in files if file} == {0o600}
    assert len(set(files)) == 2
