"""What a data set on S3 costs in requests, whatever the number of its shards, and that its shards come side by side and once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import wrong_answers as wrong
from fixtures_s3 import S3Server
from wrong_answers import Proxy

from bilp.config import IngestConfig
from bilp.data import ingest, open_dataset, shards
from bilp.errors import StorageError
from bilp.storage import objects, room, s3_client

pytestmark = pytest.mark.s3


@pytest.fixture
def between(s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Counts the requests to the store."""
    with wrong.proxy(s3_environment.endpoint) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@pytest.fixture
def uri(between: Proxy, s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Digits in 18 shards of 100 images."""
    monkeypatch.setattr(shards, "SHARD_BYTES", shards.HEADER_BYTES + 64 * 100)
    here = Path(ingest(IngestConfig(source="digits"), str(tmp_path / "store")))
    place = objects.join(s3_root, str(here.relative_to(tmp_path / "store")))
    for file in here.iterdir():
        objects.write(objects.join(place, file.name), file.read_bytes())
    return place


def test_opening_a_data_set_takes_four_requests_and_then_two(uri: str, between: Proxy) -> None:
    with between.counted() as requests:
        dataset = open_dataset(uri)
    assert requests == ["GET"] * 4, "the manifest, one listing, two index tables"
    with between.counted() as requests:
        open_dataset(uri)
    assert requests == ["GET"] * 2
    with between.counted() as requests:
        images = dataset.train.images()
    assert requests == ["GET"] * -(-len(dataset.train) // 100), "each shard once"
    with between.counted() as requests:
        assert torch.equal(open_dataset(uri).train.images(), images)
    assert requests == ["GET"] * 2


def test_shards_that_find_no_room_are_told_before_the_first_byte(uri: str, between: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(uri)
    usage = room.shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(room.shutil, "disk_usage", lambda place: usage._replace(free=20_000))
    with between.counted() as requests, pytest.raises(StorageError, match=r"copies of \d+ files of s3://.* take .*0\.0 MB are free in"):
        dataset.train.images()
    assert requests == []


def test_pieces_are_written_where_they_belong(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = open_dataset(uri).test.images()
    monkeypatch.setenv("BILP_CACHE", f"{objects.storage_root()}-other")
    monkeypatch.setattr(s3_client, "PIECE", 1000)
    assert torch.equal(open_dataset(uri).test.images(), expected)


def test_copies_within_the_store_move_nothing_through_this_machine(uri: str, s3_root: str, between: Proxy) -> None:
    there, here = objects.join(uri, "train-00000.arrow"), objects.join(s3_root, "here.arrow")
    with between.counted() as requests:
        objects.copy(there, here)
    assert requests == ["HEAD", "PUT"]
    assert objects.read(here) == objects.read(there)
