"""Shards: bounded files, zero-copy maps, widening from gray to RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from bilp.data.shards import HEADER_BYTES, ShardWriter, blocks, map_shard
from bilp.errors import IncompatibleArtifact


def images(count: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, channels, 4, 5), dtype=np.uint8)


def read(paths: list[Path], channels: int) -> np.ndarray:
    return torch.cat([map_shard(path, (channels, 4, 5)) for path in paths]).numpy()


@pytest.mark.parametrize("steps", [(1,) * 23, (23,), (5, 5, 13), (0, 10, 13)])
def test_rows_are_cut_into_shards_of_equal_length_whatever_the_steps(tmp_path: Path, steps: tuple[int, ...]) -> None:
    given = images(23)
    writer = ShardWriter(tmp_path, "train", HEADER_BYTES + 60 * 10 + 59)
    start = 0
    for step in steps:
        writer.append(given[start : start + step])
        start += step
    paths = writer.close()
    assert [path.name for path in paths] == ["train-00000.arrow", "train-00001.arrow", "train-00002.arrow"]
    assert writer.rows == (10, 10, 3)
    assert np.array_equal(read(paths, 3), given)
    assert all(path.stat().st_size <= HEADER_BYTES + 60 * 10 + 59 for path in paths)


def test_bytes_do_not_depend_on_the_steps(tmp_path: Path) -> None:
    contents = []
    for number, size in enumerate((1, 7, 40)):
        folder = tmp_path / str(number)
        folder.mkdir()
        writer = ShardWriter(folder, "test")
        for start in range(0, 40, size):
            writer.append(images(40)[start : start + size])
        contents.append([path.read_bytes() for path in writer.close()])
    assert contents[0] == contents[1] == contents[2]


def test_widening_replicates_everything_written_before(tmp_path: Path) -> None:
    gray, color = images(17, 1), images(9, 3, seed=1)
    writer = ShardWriter(tmp_path, "train", HEADER_BYTES + 20 * 6)
    writer.append(gray)
    writer.widen()
    writer.append(color)
    paths = writer.close()
    assert np.array_equal(read(paths, 3), np.concatenate([np.repeat(gray, 3, axis=1), color]))
    assert sorted(tmp_path.iterdir()) == paths
    assert writer.rows == (2,) * 13


def test_widening_an_empty_writer_is_no_work(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "train")
    writer.widen()
    assert writer.close() == []


def test_maps_do_not_copy(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "train")
    writer.append(images(3))
    (path,) = writer.close()
    allocated = pa.total_allocated_bytes()
    mapped = map_shard(path, (3, 4, 5))
    assert pa.total_allocated_bytes() == allocated
    assert mapped.shape == (3, 3, 4, 5)
    assert mapped.is_contiguous()


def test_blocks_are_consecutive(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "train")
    writer.append(images(11))
    (path,) = writer.close()
    cut = list(blocks(map_shard(path, (3, 4, 5)), block_bytes=60 * 4))
    assert [len(block) for block in cut] == [4, 4, 3]
    assert np.array_equal(np.concatenate(cut), images(11))


def test_another_shape_is_refused(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "train")
    writer.append(images(3))
    (path,) = writer.close()
    with pytest.raises(IncompatibleArtifact, match="ingest the data set again"):
        map_shard(path, (3, 5, 4))
