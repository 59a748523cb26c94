"""Pipes, sockets, devices and links to them among the files of a source: told in words, and never opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bilp.config import IngestConfig
from bilp.data import ingest, open_recorded, read_source
from bilp.data.sources.torchvision import TorchvisionSet
from bilp.errors import DataError

pytestmark = pytest.mark.slow


def link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name(".pipe"))
    path.symlink_to(path.with_name(".pipe"))


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


KINDS: list[Callable[[Path], None]] = [os.mkfifo, link_to_zero, link_to_pipe, unix_socket]


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening any of them fails a test, rather than hang it."""

    def watched(plain: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Path, *arguments: Any, **options: Any) -> Any:
            assert path.is_file() or path.is_dir() or not path.exists(), f"{path} was opened"
            return plain(path, *arguments, **options)

        return opened

    for name in ("open", "read_bytes"):
        monkeypatch.setattr(Path, name, watched(getattr(Path, name)))


@pytest.mark.parametrize("make", KINDS)
def test_among_pictures(make: Callable[[Path], None], pets: Any, write_folder: Any, tmp_path: Path) -> None:
    root = write_folder(pets)
    make(root / "train" / "cat" / "odd.png")
    config = IngestConfig(source="folder", uri=str(root))
    with pytest.raises(DataError, match=r"train/cat/odd\.png: a device, pipe or socket, not a file"):
        ingest(config, str(tmp_path / "store"))
    dataset = open_recorded(read_source(config.model_copy(update={"on_corrupt": "skip"}), str(tmp_path / "store")))
    assert dataset.record is not None and dataset.record.artifact.fact("skipped") == {"train": 1, "test": 0}
    assert b"a device, pipe or socket" in dataset.record.artifact.read("ledger.json")


@pytest.mark.parametrize("make", KINDS)
def test_in_place_of_a_table(make: Callable[[Path], None], tmp_path: Path, write_parquet: Any, pixels: Any) -> None:
    root = tmp_path / "tiny"
    root.mkdir()
    make(root / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet is a device, pipe or socket, not a file: remove it"):
        ingest(IngestConfig(source="parquet", uri=str(root)), str(tmp_path / "store"))


@pytest.mark.parametrize("source", ["folder", "parquet"])
def test_in_place_of_the_source(source: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"pipe: is a file, not a directory"):
        ingest(IngestConfig(source=source, uri=str(tmp_path / "pipe")), str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("mnist", "MNIST/raw/train-labels-idx1-ubyte.gz"),
        ("mnist", "MNIST/processed/training.pt"),
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("cifar100", "cifar-100-python.tar.gz"),
        ("svhn", "train_32x32.mat"),
    ],
)
@pytest.mark.parametrize("make", [os.mkfifo, link_to_zero])
def test_among_the_files_of_torchvision(
    make: Callable[[Path], None], name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILP_DOWNLOADS", str(tmp_path))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    make(tmp_path / file)
    with pytest.raises(DataError, match=f"{Path(file).name} is a device, pipe or socket, not a file: remove it"):
        TorchvisionSet(IngestConfig(source=name)).read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\x00\x00\x00\x10\x85R.", "begins as no file"),
        ((torch.zeros(1, dtype=torch.uint8).expand(60_000, 28, 28), torch.zeros(60_000, dtype=torch.int64)), "does not hold the published"),
        (
            (torch.zeros(1, dtype=torch.uint8).expand(10**8, 28, 28), torch.zeros(1, dtype=torch.int64).expand(10**8)),
            "are more than the published ones",
        ),
    ],
)
def test_what_an_old_torchvision_converted_may_claim_anything(
    content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILP_DOWNLOADS", str(tmp_path))
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for file in ("training.pt", "test.pt"):
        if isinstance(content, bytes):
            (processed / file).write_bytes(content)
        else:
            torch.save(content, processed / file)
    with pytest.raises(DataError, match=message):
        TorchvisionSet(IngestConfig(source="mnist")).read()


def test_raw_files_with_lying_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded: nothing answers at the addresses."""
    monkeypatch.setenv("BILP_DOWNLOADS", str(tmp_path))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        for name, dimensions in (("images-idx3-ubyte", (2**31 - 1, 2**31 - 1, 2**31 - 1)), ("labels-idx1-ubyte", (2**31 - 1,))):
            head = bytes((0, 0, 8, len(dimensions))) + np.array(dimensions, dtype=">i4").tobytes()
            (raw / f"{split}-{name}").write_bytes(head + bytes(100))
    with pytest.raises(DataError, match="damaged files in .*MNIST/raw.*Delete them"):
        TorchvisionSet(IngestConfig(source="mnist")).read()
