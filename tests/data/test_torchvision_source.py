"""torchvision's sets: real files in MNIST's own format, the adapter for every axis order, and a missing network."""

from __future__ import annotations

import gzip
import hashlib
import socket
import struct
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets

from bilp.config import IngestConfig
from bilp.data import ingest, open_dataset, open_recorded, read_source
from bilp.data.sources import idx_digests
from bilp.data.sources.torchvision import TORCHVISION, LoadedArrays
from bilp.data.sources.torchvision_files import required
from bilp.errors import DataError


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Downloads go to a fresh directory, and through a proxy on a port where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, never listening: a connection is refused
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{unused.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of its first use
        monkeypatch.setenv("BILP_DOWNLOADS", str(tmp_path / "downloads"))
        yield


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small files that `write_mnist` writes are the published ones, of both sets."""
    images, labels = made()
    small = {**idx_digests.digests("train", images, labels), **idx_digests.digests("test", images[:10], labels[:10])}
    for name in idx_digests.PUBLISHED:
        monkeypatch.setitem(idx_digests.PUBLISHED, name, small)


def idx(array: np.ndarray) -> bytes:
    """An array in the IDX format of MNIST: magic number, sizes, values."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def made() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(1).integers(0, 256, (30, 28, 28), dtype=np.uint8), np.arange(30) % 10


def write_mnist(root: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    raw = root / kind / "raw"
    raw.mkdir(parents=True)
    images, labels = made()
    for prefix, count in (("train", 30), ("t10k", 10)):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images[:count]))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels[:count]))
    return images, labels


@pytest.mark.parametrize(("name", "mean", "first"), [("mnist", 0.1307, "0 - zero"), ("fashion_mnist", 0.2861, "T-shirt/top")])
@pytest.mark.usefixtures("published")
def test_files_in_the_original_format(tmp_path: Path, name: Any, mean: float, first: str) -> None:
    images, labels = write_mnist(tmp_path / "downloads", TORCHVISION[name])
    dataset = open_recorded(read_source(IngestConfig(source=name), str(tmp_path / "store")))
    assert (dataset.name, dataset.shape, dataset.class_names[0]) == (name, (1, 28, 28), first)
    assert dataset.mean == (mean,)
    assert np.array_equal(dataset.train.images().numpy(), images[:, None])
    assert np.array_equal(dataset.train.labels.numpy(), labels)
    assert np.array_equal(dataset.test.images().numpy(), images[:10, None])
    assert dataset.origins("train")[:2] == ["train/00000", "train/00001"]


@pytest.mark.usefixtures("published")
def test_a_second_ingestion_needs_no_files(tmp_path: Path) -> None:
    write_mnist(tmp_path / "downloads", "MNIST")
    first = ingest(IngestConfig(source="mnist"), str(tmp_path / "store"))
    (tmp_path / "downloads").rename(tmp_path / "gone")
    assert ingest(IngestConfig(source="mnist"), str(tmp_path / "store")) == first


def test_a_truncated_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    write_mnist(tmp_path / "downloads", "MNIST")
    path = tmp_path / "downloads/MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"mnist: damaged files in .*MNIST/raw: .*Delete them"):
        ingest(IngestConfig(source="mnist"), str(tmp_path / "store"))


def test_pictures_and_labels_of_different_number(tmp_path: Path) -> None:
    _, labels = write_mnist(tmp_path / "downloads", "MNIST")
    (tmp_path / "downloads/MNIST/raw/train-labels-idx1-ubyte").write_bytes(idx(labels[:20]))
    with pytest.raises(DataError, match=r"\(30, 28, 28\) and labels \(20,\) do not belong together"):
        ingest(IngestConfig(source="mnist"), str(tmp_path / "store"))


def test_digests_are_those_of_the_files(tmp_path: Path) -> None:
    write_mnist(tmp_path, "MNIST")
    images, labels = made()
    found = {**idx_digests.digests("train", images, labels), **idx_digests.digests("test", images[:10], labels[:10])}
    assert found == {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (tmp_path / "MNIST/raw").iterdir()}
    for name, expected in idx_digests.PUBLISHED.items():
        archives = dict(getattr(torchvision.datasets, TORCHVISION[name]).resources)
        assert set(expected) == {file.removesuffix(".gz") for file in archives}
        assert not set(expected.values()) & set(archives.values())


def test_files_of_another_set_are_refused_with_both_checksums(tmp_path: Path, published: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST's files in the folder of Fashion-MNIST: the same names, shapes and numbers."""
    write_mnist(tmp_path / "downloads", "FashionMNIST")
    own = idx_digests.PUBLISHED["mnist"]
    other = {file: f"{number:032x}" for number, file in enumerate(own)}
    monkeypatch.setitem(idx_digests.PUBLISHED, "fashion_mnist", other)
    file = "train-images-idx3-ubyte"
    with pytest.raises(DataError, match=r"fashion_mnist: .*FashionMNIST/raw/train-images.*Move the files of .*elsewhere") as caught:
        ingest(IngestConfig(source="fashion_mnist"), str(tmp_path / "store"))
    assert f"expected MD5 {other[file]}, found {own[file]}" in str(caught.value)
    assert not (tmp_path / "store/datasets").exists()
    for changed in own:  # a single file of the four is enough
        monkeypatch.setitem(idx_digests.PUBLISHED, "fashion_mnist", {**own, changed: other[changed]})
        with pytest.raises(DataError, match=f"{changed}: expected MD5 {other[changed]}, found {own[changed]}"):
            ingest(IngestConfig(source="fashion_mnist"), str(tmp_path / "store"))


def test_files_that_an_old_torchvision_converted_are_compared_too(tmp_path: Path, published: None) -> None:
    images, labels = write_mnist(tmp_path / "downloads", "MNIST")
    processed = tmp_path / "downloads/MNIST/processed"
    processed.mkdir()
    for file, count in (("training.pt", 30), ("test.pt", 10)):
        torch.save((torch.from_numpy(images[:count]), torch.from_numpy(labels[:count])), processed / file)
    assert len(open_dataset(ingest(IngestConfig(source="mnist"), str(tmp_path / "store"))).train) == 30
    torch.save((torch.from_numpy(images[:10] // 2), torch.from_numpy(labels[:10])), processed / "test.pt")
    with pytest.raises(DataError, match=r"processed/test\.pt does not hold the published t10k-images-idx3-ubyte"):
        ingest(IngestConfig(source="mnist"), str(tmp_path / "other"))


@pytest.mark.parametrize(("name", "path"), [("svhn", "train_32x32.mat"), ("cifar10", "cifar-10-batches-py/data_batch_3")])
def test_a_wrong_file_without_a_network_is_named_with_both_checksums(tmp_path: Path, name: Any, path: str) -> None:
    file = tmp_path / "downloads" / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"another set")
    kind = getattr(torchvision.datasets, TORCHVISION[name])
    expected = dict(kind.train_list)["data_batch_3"] if name == "cifar10" else kind.split_list["train"][2]
    found = hashlib.md5(b"another set").hexdigest()
    with pytest.raises(DataError) as caught:
        ingest(IngestConfig(source=name), str(tmp_path / "store"))
    assert f"{file} is not the published file: expected MD5 {expected}, found {found}" in str(caught.value)


@pytest.mark.parametrize("name", list(TORCHVISION))
def test_a_missing_network_says_what_to_fetch_and_where_to_put_it(tmp_path: Path, name: Any) -> None:
    with pytest.raises(DataError) as caught:
        ingest(IngestConfig(source=name), str(tmp_path / "store"))
    message = str(caught.value)
    wanted = required(getattr(torchvision.datasets, TORCHVISION[name]), "train")
    assert message.startswith(f"{name}: could not download from ")
    assert "refused" in message
    assert "--dataset parquet" in message
    for download in wanted:
        assert f"{tmp_path / 'downloads' / download.path} (MD5 {download.md5})" in message
        assert download.urls[0] in message
    assert not (tmp_path / "store/datasets").exists()


@pytest.mark.usefixtures("published")
def test_files_put_there_by_hand_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compressed files as they are published; only their checksums are those of this test's smaller ones."""
    write_mnist(tmp_path / "made", "MNIST")
    target = tmp_path / "downloads/MNIST/raw"
    target.mkdir(parents=True)
    resources = []
    for path in sorted((tmp_path / "made/MNIST/raw").iterdir()):
        data = gzip.compress(path.read_bytes(), mtime=0)
        (target / f"{path.name}.gz").write_bytes(data)
        resources.append((f"{path.name}.gz", hashlib.md5(data).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    assert len(open_dataset(ingest(IngestConfig(source="mnist"), str(tmp_path / "store"))).train) == 30


@pytest.mark.parametrize(("labels", "axes"), [("targets", (0, 1, 2, 3)), ("labels", (0, 3, 1, 2))])
def test_the_adapter_knows_both_axis_orders(labels: str, axes: tuple[int, ...]) -> None:
    images = np.random.default_rng(2).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    loaded: Any = {"train": SimpleNamespace(data=images.transpose(axes), **{labels: [number % 10 for number in range(300)]})}
    arrays = LoadedArrays(loaded, tuple("0123456789"), "here")
    contents = arrays.contents()
    groups = list(arrays.groups(contents.items["train"]))
    assert np.array_equal(np.concatenate([group.images for group in groups]), images)
    assert [len(group.origins) for group in groups] == [256, 44]
    assert contents.labels["train"][11] == 1


def test_the_adapter_takes_tensors_and_refuses_floats() -> None:
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    loaded: Any = {"train": SimpleNamespace(data=images, targets=torch.tensor([0, 1, 2]))}
    assert LoadedArrays(loaded, ("a", "b", "c"), "here").contents().labels["train"].tolist() == [0, 1, 2]
    loaded["train"].data = images.float()
    with pytest.raises(DataError, match=r"here \(train\): pictures float32"):
        LoadedArrays(loaded, ("a", "b", "c"), "here")
