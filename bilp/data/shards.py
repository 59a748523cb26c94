"""Shards: Arrow IPC files of bounded size that hold the pixels of one split and are memory-mapped without a copy.

Each file is one record batch with one column `image`: fixed-size list of C*H*W uint8, layout [C, H, W], or of T*C*H*W of clips,
layout [T, C, H, W]. Shards that were written one after the other hold the same number of rows, but for the last; those that were made
from parts of a large source may differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.dlpack import from_dlpack

from bilp.config.shapes import Shape, as_shape, layout_of, values_in, with_channels
from bilp.data.contents import Labels
from bilp.errors import DamagedArtifact, IncompatibleArtifact
from bilp.storage.objects import Known
from bilp.text.escaping import unwrapped
from bilp.text.sample_words import spoken

Pixels = NDArray[np.uint8]

SHARD_BYTES = 256 * 2**20  # a file never exceeds it
HEADER_BYTES = 2**16  # generous room for Arrow's schema and footer
BLOCK_BYTES = 16 * 2**20
_REMEDY = "ingest the data set again"


@dataclass(frozen=True)
class Stored:
    """One split as it was written: shape of a sample, shards in order, labels [N] and origins of its pictures, and their places [N]
    among all of the source's split (-1 for those that are not in it).

    What was computed where the shards were written is kept with them: the digest of each picture, how often each channel has each
    value [C, 256], and the published files that the shards are (`held`), which then need not be written again. `videos` [N] says
    which clips are windows of one video, where several were taken of one (`bilp.data.videos`).
    """

    shape: Shape
    paths: Sequence[Path]
    rows: tuple[int, ...]
    labels: Labels
    origins: Sequence[str]
    places: NDArray[np.int64]
    digests: Sequence[str] | None = None
    histogram: NDArray[np.int64] | None = None
    held: tuple[Known, ...] = ()
    videos: NDArray[np.int64] | None = None


def shard_name(split: str, number: int) -> str:
    """File name of a shard: train-00000.arrow."""
    return f"{split}-{number:05d}.arrow"


def map_shard(path: Path, shape: Shape, rows: int | None = None) -> torch.Tensor:
    """The pixels of a shard as uint8 [n, C, H, W], or [n, T, C, H, W] of clips, over the memory map; read-only, never write into it.

    `rows` is how many images it has, where that is known. Raises IncompatibleArtifact if the file holds something else, and
    DamagedArtifact if it cannot be read or is not as large as what it holds.
    """
    size = values_in(shape)
    expected = _schema(shape)
    try:
        if rows is not None:
            _require_size(path, rows * size)
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate()
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise DamagedArtifact(f"{path} is no shard of pixels ({unwrapped(error)}): {_REMEDY}") from error
    if not table.schema.equals(expected, check_metadata=True) or table.column("image").num_chunks != 1:
        raise IncompatibleArtifact(f"{path}: expected one batch of {expected.field('image')}, found {unwrapped(table.schema)}: {_REMEDY}")
    images = table.column("image").chunk(0)
    values = images.flatten()
    if images.null_count or values.null_count or len(values) != len(images) * size:
        raise DamagedArtifact(f"{path} holds {spoken('images')} without pixels: {_REMEDY}")
    if rows is not None and len(images) != rows:
        raise DamagedArtifact(f"{path} holds {len(images):,} {spoken('images')} instead of {rows:,}: {_REMEDY}")
    return from_dlpack(values).view(len(images), *shape)


def _require_size(path: Path, pixels: int) -> None:
    """Raise ValueError unless a file is as large as so many bytes of pixels and a header: a smaller one may be compressed, and no end
    of memory may be what it holds."""
    found = path.stat().st_size
    if not pixels <= found <= pixels + HEADER_BYTES:
        raise ValueError(f"it has {found:,} bytes for {pixels:,} bytes of pixels")


def gather(shards: Sequence[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """Copies of the images at these rows (int64 [n], any order) of consecutive shards, uint8 [n, C, H, W]."""
    if len(shards) == 1:
        return shards[0].index_select(0, rows)
    ends = torch.cumsum(torch.tensor([len(shard) for shard in shards]), 0)
    gathered = torch.empty((len(rows), *shards[0].shape[1:]), dtype=torch.uint8)
    number = torch.searchsorted(ends, rows, right=True)
    for shard in torch.unique(number).tolist():
        places = (number == shard).nonzero().squeeze(1)
        first = int(ends[shard]) - len(shards[shard])
        gathered.index_copy_(0, places, shards[shard].index_select(0, rows[places] - first))
    return gathered


def blocks(images: torch.Tensor, block_bytes: int = BLOCK_BYTES) -> Iterator[Pixels]:
    """A mapped shard as consecutive arrays [n, ...] of about `block_bytes`, without copies."""
    rows = max(1, block_bytes // images[0].numel())
    for start in range(0, len(images), rows):
        yield images[start : start + rows].numpy()


class ShardWriter:
    """Writes the images of one split in order; holds at most one shard in memory, and none of a single image."""

    def __init__(self, folder: Path, split: str, shard_bytes: int | None = None) -> None:
        """Shards of `split` go to `folder`; no file exceeds `shard_bytes` (SHARD_BYTES) unless a single image does."""
        self._folder = folder
        self._split = split
        self._room = max(1, (shard_bytes or SHARD_BYTES) - HEADER_BYTES)
        self._shape: Shape | None = None
        self._paths: list[Path] = []
        self._rows: list[int] = []
        self._buffer: Pixels | None = None
        self._filled = 0

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each shard written so far."""
        return tuple(self._rows)

    @property
    def shape(self) -> Shape | None:
        """The shape of a sample, or None before the first."""
        return self._shape

    def append(self, images: Pixels) -> None:
        """Add uint8 samples [n, C, H, W] or [n, T, C, H, W]; all calls share their shape."""
        if len(images) and self._rows_of(images.shape[1:]) == 1:
            for image in images:
                self._write(image[None])
            return
        while len(images):
            buffer = self._open_buffer(images.shape[1:])
            part = images[: len(buffer) - self._filled]
            buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            images = images[len(part) :]
            if self._filled == len(buffer):
                self._flush()

    def widen(self) -> None:
        """Turn everything appended so far from one channel into three equal ones."""
        gray_paths, gray_shape = self.close(), self._shape
        if gray_shape is None:
            return
        parked = [path.rename(path.with_suffix(".gray")) for path in gray_paths]
        self._paths, self._rows, self._shape = [], [], None
        for path in parked:
            for block in blocks(map_shard(path, gray_shape)):
                self.append(np.broadcast_to(block, (len(block), *with_channels(gray_shape, 3))))
            path.unlink()

    def close(self) -> list[Path]:
        """Write what is left; the paths of all shards in order."""
        if self._filled:
            self._flush()
        self._buffer = None
        return list(self._paths)

    def _rows_of(self, shape: tuple[int, ...]) -> int:
        """Images of a shard, given their shape."""
        self._shape = as_shape(shape)
        return max(1, self._room // values_in(shape))

    def _open_buffer(self, shape: tuple[int, ...]) -> Pixels:
        if self._buffer is None:
            # np.empty touches no memory: small sets do not pay for a whole shard
            self._buffer = np.empty((self._rows_of(shape), *shape), dtype=np.uint8)
        return self._buffer

    def _flush(self) -> None:
        assert self._buffer is not None
        self._write(self._buffer[: self._filled])
        self._filled = 0

    def _write(self, images: Pixels) -> None:
        """The next shard."""
        assert self._shape is not None
        path = self._folder / shard_name(self._split, len(self._paths))
        with pa.OSFile(str(path), "wb") as sink:
            _write_images(sink, self._shape, images)
        self._paths.append(path)
        self._rows.append(len(images))


@cache
def shard_file_bytes(shape: Shape, rows: int) -> int:
    """How large the shard of so many samples of a shape is; nothing is written."""
    sink = pa.MockOutputStream()
    _write_images(sink, shape, np.zeros((rows, *shape), dtype=np.uint8))  # pages of zeros that nobody touches take no memory
    return int(sink.size())


def _write_images(sink: pa.NativeFile, shape: Shape, images: Pixels) -> None:
    schema = _schema(shape)
    column = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), type=schema.field("image").type)
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))


def _schema(shape: Shape) -> pa.Schema:
    pixels = pa.field("image", pa.list_(pa.field("pixel", pa.uint8(), nullable=False), values_in(shape)), nullable=False)
    return pa.schema([pixels], metadata={"layout": layout_of(shape), "shape": json.dumps(list(shape))})
