"""Where pixels lie changes no batch: mapped, kept by a device, or kept in part; and BILP_DATA says which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import bilp
from bilp.data import open_dataset, resident
from bilp.data.pool import RealPool
from bilp.data.resident import Resident
from bilp.data.store import Dataset
from bilp.errors import ConfigError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 4, 4), dtype=np.uint8)
    labels, root = np.arange(60) % 6, str(tmp_path_factory.mktemp("store"))
    return bilp.ingest(images=pixels, labels=labels, test=(pixels[:6], labels[:6]), layout="NCHW", root=root).uri


@pytest.fixture
def dataset(uri: str) -> Dataset:
    return open_dataset(uri)


def test_a_cpu_keeps_nothing_unless_it_is_told_to(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.tensor([3, 59, 3, 0])
    expected, everything = dataset.train.batch(ids), dataset.train.batch()
    assert not dataset.train.keep_on("cpu")
    monkeypatch.setenv("BILP_DATA", "streamed")
    assert not dataset.train.keep_on("cpu")
    monkeypatch.setenv("BILP_DATA", "resident")
    assert dataset.train.keep_on("cpu")
    monkeypatch.setattr(dataset.train, "images", lambda indices=None: pytest.fail("the file was read again"))
    assert torch.equal(dataset.train.batch(ids), expected) and torch.equal(dataset.train.batch(), everything)
    with pytest.raises(IndexError, match=r"0\.\.59"):
        dataset.train.batch(torch.tensor([60]))


def test_a_shard_keeps_its_own_classes_and_reads_the_others(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_DATA", "resident")
    chosen = torch.arange(0, 60)[torch.arange(60) % 4 != 0]  # what static pruning kept
    pool = RealPool(dataset, chosen)
    pool.keep_on("cpu", range(2, 4))
    own = torch.cat([pool.by_class[2], pool.by_class[3]])
    kept = dataset.train.kept_on("cpu", own)
    assert kept is not None and len(kept.images) == len(own) < 30
    assert dataset.train.kept_on("cpu", pool.by_class[4]) is None
    fresh = open_dataset(dataset.uri).train
    monkeypatch.setenv("BILP_DATA", "auto")
    for ids in (own.flip(0), pool.by_class[4], torch.tensor([own[0], 0])):
        assert torch.equal(dataset.train.batch(ids), fresh.batch(ids))


def test_a_device_that_has_no_room_for_all_does_not_say_that_it_keeps_them(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    train, pool = dataset.train, RealPool(dataset)
    monkeypatch.setattr(resident, "memory_of", lambda device: 2 * 60 * 3 * 4 * 4)  # half a split is a quarter of it
    pool.keep_on("cpu", range(2))
    assert train.kept_on("cpu", pool.by_class[1]) is not None and not train.keep_on("cpu")
    some = RealPool(dataset, torch.cat(pool.by_class[3:5]))
    some.keep_on("cpu")  # a run of its own, in the same process
    assert train.kept_on("cpu", some.by_class[4]) is not None


def test_pixels_are_read_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    images, read = torch.arange(40, dtype=torch.uint8).reshape(10, 1, 2, 2), list[int]()

    def at(indices: Tensor) -> Tensor:
        read.append(len(indices))
        return images[indices]

    monkeypatch.setenv("BILP_DATA", "resident")
    monkeypatch.setattr(resident, "STEP_BYTES", 12)
    kept = Resident(at, 40, 10).keep(CPU)
    assert kept is not None and torch.equal(kept.images, images) and read == [3, 3, 3, 1]
    some = Resident(at, 40, 10).keep(CPU, torch.tensor([7, 2, 7]))
    assert some is not None and torch.equal(some.images, images[[2, 7]])
    assert some.rows(torch.tensor([7, 2])).tolist() == [1, 0] and some.rows(torch.tensor([3])) is None  # type: ignore[union-attr]


def test_all_are_kept_where_others_than_some_are_asked_for_often(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.arange(40, dtype=torch.uint8).reshape(10, 1, 2, 2)
    monkeypatch.setenv("BILP_DATA", "resident")
    held = Resident(lambda indices: images[indices], 40, 10)
    assert held.keep(CPU, torch.tensor([1, 2])) is held.keep(CPU, torch.tensor([2]))
    whole = held.keep(CPU)
    assert whole is not None and whole.places is None and held.keep(CPU, torch.tensor([1])) is whole


def test_another_value_is_refused(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_DATA", "gpu")
    with pytest.raises(ConfigError, match="BILP_DATA=gpu: use auto, resident, streamed"):
        dataset.train.keep_on("cpu")


def test_the_stages_of_a_run_are_equal_wherever_its_pixels_lie(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bilp.config import DistillConfig, NetworkConfig, ReselectConfig
    from bilp.distill import distill_round, finish_run, reselect_round, start_run

    narrow = NetworkConfig(width=4, depth=1)
    distill = DistillConfig(method="dm", ipc=1, iterations=2, rounds=1, batch_real=4, augment=("color", "flip"), network=narrow)
    found = []
    for way in ("resident", "streamed"):
        monkeypatch.setenv("BILP_DATA", way)
        root = str(tmp_path / way)
        run = start_run(uri, None, distill, ReselectConfig(beta=0.2, networks=1), root)
        reselect_round(run, 1)
        distill_round(run, 1)
        finish_run(run)
        files = {
            str(path.relative_to(root)): path for path in Path(root).rglob("*.*") if path.suffix in (".safetensors", ".parquet", ".png")
        }
        found.append({name: path.read_bytes() for name, path in files.items()})
    assert found[0] == found[1] and len(found[0]) > 3
