"""Parquet in object storage is read by ranges: labels without images, and of images the row groups that are wanted."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bilp.config import IngestConfig
from bilp.data.sources import open_source
from bilp.errors import DataError
from bilp.storage import objects

pytestmark = [pytest.mark.s3, pytest.mark.slow]

FILES, ROWS, BYTES = 20, 24, 120_000


def upload(root: str) -> int:
    """Files of noise in place of images; the bytes of all."""
    rng, total = np.random.default_rng(0), 0
    for number in range(FILES):
        images = [{"bytes": rng.bytes(BYTES), "path": f"{number}_{row}.jpg"} for row in range(ROWS)]
        buffer = io.BytesIO()
        pq.write_table(pa.table({"image": images, "label": [row % 3 for row in range(ROWS)]}), buffer, row_group_size=6, compression="none")
        objects.write(objects.join(root, f"data/train-{number:05d}-of-{FILES:05d}.parquet"), buffer.getvalue())
        total += len(buffer.getvalue())
    return total


def test_labels_take_few_bytes_and_a_piece_its_row_groups(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    total = upload(s3_root)
    asked: list[int] = []
    span = objects.span

    def counted(uri: str, start: int, stop: int, stamp: str) -> bytes:
        asked.append(stop - start)
        return span(uri, start, stop, stamp)

    monkeypatch.setattr(objects, "span", counted)
    monkeypatch.setattr(objects, "localize", lambda *_: pytest.fail("a whole file is downloaded"))
    config = IngestConfig(source="parquet", uri=s3_root)
    contents = open_source(config).read()
    assert len(contents.items["train"]) == FILES * ROWS
    assert sum(asked) < total / 20
    asked.clear()
    piece = contents.items["train"].slice(ROWS + 6, ROWS + 12)
    images = [read() for group in open_source(config).groups(piece) for read in group.images]
    assert [len(image) for image in images] == [BYTES] * 6
    assert sum(asked) < 6 * BYTES * 1.05 + 2**16  # and the footer


def test_damage_is_told_as_of_a_local_file(s3_root: str) -> None:
    for content, problem in (
        (b"PAR1" + bytes(100), r"is cut off after 104 bytes"),
        (b"", r"is empty \(0 bytes\)"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"is a pointer of Git LFS"),
    ):
        objects.write(objects.join(s3_root, "train.parquet"), content)
        with pytest.raises(DataError, match=problem):
            open_source(IngestConfig(source="parquet", uri=s3_root)).read()
