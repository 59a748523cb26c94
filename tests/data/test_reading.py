"""Files that cannot be read are listed like damaged ones; a storage that is out of reach stops the stage."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilp.data.contents import Contents, Group
from bilp.data.convert import Converter
from bilp.data.decode import Conversion
from bilp.data.items import Items
from bilp.data.opening import DecodeError
from bilp.data.reading import read_picture
from bilp.data.shards import Stored
from bilp.errors import DataError, MissingArtifact, StorageError
from bilp.progress import silent
from bilp.storage import objects

Reader = Callable[[], bytes]


def reader(path: Path) -> Reader:
    return lambda: objects.read(str(path))


def broken(folder: Path, whole: bytes) -> dict[str, Reader]:
    """Readers of files that the operating system refuses one by one, as it does so here."""
    (folder / "directory.png").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "file").write_bytes(whole)
    names = {"gone.png", "directory.png", "loop.png", "dangling.png", "file/below.png", "x" * 300 + ".png"}
    return {name: reader(folder / name) for name in sorted(names)}


class Readers:
    """A source of these readers, all of one class."""

    name = "readers"

    def __init__(self, readers: dict[str, Reader]) -> None:
        self._readers = readers

    def signature(self) -> str:
        return " ".join(self._readers)

    def read(self) -> Contents:
        return Contents(("a",), {"train": Items.of_files(np.zeros(len(self._readers), dtype=np.int64), list(self._readers))})

    def groups(self, items: Items) -> Iterator[Group]:
        yield Group(items.paths(), [self._readers[path] for path in items.paths()])


def convert(converter: Converter, readers: dict[str, Reader]) -> Stored:
    source = Readers(readers)
    return converter.run(source, source.read(), silent)["train"]


def test_files_that_cannot_be_read_are_listed_and_the_others_taken(tmp_path: Path, write_folder: Any, pixels: Any) -> None:
    root = write_folder({"a/0.png": pixels(4, 4), "a/1.png": pixels(4, 4, seed=1)})
    bad = broken(tmp_path, (root / "a/0.png").read_bytes())
    if os.geteuid() != 0:  # the superuser may read everything
        (tmp_path / "locked.png").write_bytes(b"x")
        (tmp_path / "locked.png").chmod(0)
        bad["locked.png"] = reader(tmp_path / "locked.png")
    readers = {"0": reader(root / "a/0.png"), **bad, "1": reader(root / "a/1.png")}
    (tmp_path / "out").mkdir()
    converter = Converter(tmp_path / "out", Conversion())
    stored = convert(converter, readers)
    assert stored.origins == ["0", "1"]
    assert [entry.origin for entry in converter.skipped] == list(bad)
    reasons = {entry.origin[:12]: entry.reason for entry in converter.skipped}
    assert reasons["gone.png"] == reasons["dangling.png"] == "is missing: nothing lies there, or it is a link to nothing"
    assert reasons["loop.png"] == "is a link that leads to itself"
    assert reasons["x" * 12] == "its name is too long"


def test_a_file_without_permission_is_listed() -> None:
    def denied() -> bytes:
        raise StorageError("cannot read x: denied") from PermissionError(errno.EACCES, "Permission denied", "/data/x.png")

    with pytest.raises(DecodeError, match="may not be read by this user"):
        read_picture(denied)


@pytest.mark.parametrize(
    "cause",
    [
        PermissionError("Access Denied"),  # as the client of object storage puts it, which names no file
        OSError(errno.EACCES, "An error occurred (AccessDenied)"),
        OSError(errno.EIO, "Input/output error", "/data/x.png"),
        OSError(errno.EMFILE, "Too many open files", "/data/x.png"),
        OSError(errno.ESTALE, "Stale file handle", "/data/x.png"),
        ConnectionError("refused"),
        TimeoutError(errno.ETIMEDOUT, "timed out"),
    ],
)
def test_what_may_befall_every_file_stops_the_stage(tmp_path: Path, cause: OSError) -> None:
    def failing() -> bytes:
        raise StorageError("cannot read s3://bucket/x") from cause

    with pytest.raises(StorageError, match="cannot read s3"):
        convert(Converter(tmp_path, Conversion()), {"x": failing})


def test_a_missing_object_is_listed_whatever_the_storage() -> None:
    def missing() -> bytes:
        raise MissingArtifact("cannot read s3://bucket/x: nothing lies there")

    with pytest.raises(DecodeError, match="is missing"):
        read_picture(missing)


def test_values_above_the_stated_bits_are_refused_by_name_also_where_damaged_files_are_skipped(tmp_path: Path, write_folder: Any) -> None:
    root = write_folder({"0.png": np.full((2, 2), 4095, np.uint16), "1.png": np.full((2, 2), 5000, np.uint16)})
    readers = {name: reader(root / name) for name in ("0.png", "1.png")}
    with pytest.raises(DataError, match=r"^1\.png holds the value 5000, but ingest\.bits 12 means values up to 4095: set it to 13"):
        convert(Converter(tmp_path, Conversion(bits=12)), readers)
