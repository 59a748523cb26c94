"""Temporary files: where there is no room for them, the line names TMPDIR."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from bilp.config import IngestConfig
from bilp.data import ingest
from bilp.errors import StorageError
from bilp.storage.scratch import scratch_folder


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files of this process take no more than `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_scratch_folder_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_folder("some-") as folder:
        (folder / "file").write_bytes(b"x")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_for_temporary_files_tmpdir_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(StorageError, match="set TMPDIR to a folder with free space"):
        ingest(IngestConfig(source="digits"), str(tmp_path))
    assert not list(tmp_path.rglob("_manifest.json"))


def test_where_temporary_files_find_no_room_tmpdir_is_named_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with largest_file(10_000), pytest.raises(StorageError, match=f"cannot write temporary files in {temporary} .*set TMPDIR"):
        ingest(IngestConfig(source="digits"), str(tmp_path / "store"))
    assert list(temporary.iterdir()) == []
    assert not list(tmp_path.rglob("_manifest.json"))


def test_what_has_nothing_to_do_with_temporary_files_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), scratch_folder("some-"):
        raise PermissionError(13, "Permission denied", str(tmp_path / "source"))


def test_where_widening_gray_images_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written of the gray ones fits; the first color image makes it three times as large."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for label, mode in (("a", "L"), ("b", "RGB")):
        for number in range(2):
            file = tmp_path / "pets" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (200, 200), number).save(file)
    with largest_file(200_000), pytest.raises(StorageError, match="cannot write temporary files in .*temporary .*set TMPDIR"):
        ingest(IngestConfig(source="folder", uri=str(tmp_path / "pets")), str(tmp_path / "store"))
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not list(tmp_path.rglob("_manifest.json"))
