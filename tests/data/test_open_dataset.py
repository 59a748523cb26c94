"""Split: gathering against plain indexing, several shards, several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.artifacts.publication import publish
from bilp.config import IngestConfig
from bilp.data import Dataset, ingest, open_dataset, shards
from bilp.errors import IncompatibleArtifact, MissingArtifact


@pytest.fixture(scope="module")
def many_shards(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The digits in shards of 100 images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", shards.HEADER_BYTES + 64 * 100)
        return open_dataset(ingest(IngestConfig(), str(tmp_path_factory.mktemp("store"))))


@pytest.fixture(scope="module")
def one_shard(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(ingest(IngestConfig(), str(tmp_path_factory.mktemp("store"))))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1437), max_size=300))
def test_gathering_equals_indexing(many_shards: Dataset, one_shard: Dataset, indices: list[int]) -> None:
    wanted = torch.tensor(indices, dtype=torch.int64)
    everything = many_shards.train.images()
    assert torch.equal(many_shards.train.images(wanted), everything[wanted])
    assert torch.equal(one_shard.train.images(wanted), everything[wanted])
    assert torch.equal(many_shards.train.batch(wanted), one_shard.train.batch()[wanted])


def test_shards_do_not_change_the_data_set(many_shards: Dataset, one_shard: Dataset) -> None:
    assert many_shards.fingerprint == one_shard.fingerprint
    assert torch.equal(many_shards.test.images(), one_shard.test.images())
    assert many_shards.train.images().shape == (1438, 1, 8, 8)


@pytest.mark.parametrize("wrong", [-1, 1438])
def test_an_index_outside_is_refused(many_shards: Dataset, one_shard: Dataset, wrong: int) -> None:
    for dataset in (many_shards, one_shard):
        with pytest.raises(IndexError, match=r"0\.\.1437"):
            dataset.train.images(torch.tensor([0, wrong]))


def test_results_are_copies(one_shard: Dataset) -> None:
    before = one_shard.train.images()
    for images in (one_shard.train.images(), one_shard.train.images(torch.arange(3))):
        images.fill_(7)
    assert torch.equal(one_shard.train.images(), before)


def test_by_class_partitions_the_split_in_ascending_order(one_shard: Dataset) -> None:
    members = one_shard.train.by_class()
    assert len(members) == one_shard.classes
    for label, indices in enumerate(members):
        assert torch.equal(indices, (one_shard.train.labels == label).nonzero().squeeze(1))
    assert one_shard.train.by_class() is members


def test_threads_share_a_split(many_shards: Dataset) -> None:
    fresh = open_dataset(many_shards.uri)
    expected = many_shards.train.images()
    generator = torch.Generator().manual_seed(0)
    wanted = [torch.randint(0, 1438, (64,), generator=generator) for _ in range(64)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(fresh.train.images, wanted))
    assert all(torch.equal(found, expected[indices]) for found, indices in zip(results, wanted, strict=True))


def test_opening_nothing_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact):
        open_dataset(str(tmp_path / "nowhere"))
    other = str(tmp_path / "other")
    publish(other, "dataset", "0" * 16, {}, config={}, parents={}, facts={"layout": "HWC", "value_range": [0, 255]})
    with pytest.raises(IncompatibleArtifact, match="CHW"):
        open_dataset(other)
