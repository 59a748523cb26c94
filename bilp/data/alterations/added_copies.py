"""Copies of training images that are added to them, with pixels that differ a little if that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.config.alterations import DuplicatesAddedConfig
from bilp.data.alterations.noise_kinds import count_of
from bilp.data.shards import BLOCK_BYTES, Pixels, ShardWriter, Stored, blocks, gather, map_shard
from bilp.seeds import generator

NOWHERE = -1
"""Place among the images of a source of one that is not in it."""


def originals_of(images: int, config: DuplicatesAddedConfig) -> NDArray[np.int64]:
    """The images of a split of so many that copies are made of, once for each copy: all in their order, as often as is asked for."""
    order = torch.randperm(images, generator=generator(config.seed, "ingest", "duplicates_added", "chosen")).numpy()
    return np.tile(np.sort(order[: count_of(config.share, images)]), config.times)


def with_copies(whole: Stored, originals: NDArray[np.int64], config: DuplicatesAddedConfig, folder: Path) -> Stored:
    """The images of a train split and copies of its `originals` [n] after them, written anew into `folder`."""
    writer = ShardWriter(folder, "train")
    shards = [map_shard(path, whole.shape) for path in whole.paths]
    for shard in shards:
        for block in blocks(shard):
            writer.append(block)
    for copies in _copies(shards, originals, config):
        writer.append(copies)
    paths = writer.close()
    number = np.arange(len(originals)) // max(len(originals) // config.times, 1) + 1
    names = [f"{whole.origins[place]} (copy {copy})" for place, copy in zip(originals.tolist(), number.tolist(), strict=True)]
    return Stored(
        whole.shape,
        paths,
        writer.rows,
        np.concatenate([whole.labels, whole.labels[originals]]),
        [*whole.origins, *names],
        np.concatenate([whole.places, np.full(len(originals), NOWHERE)]),
        videos=None if whole.videos is None else np.concatenate([whole.videos, whole.videos[originals]]),
    )


def _copies(shards: list[torch.Tensor], originals: NDArray[np.int64], config: DuplicatesAddedConfig) -> Iterator[Pixels]:
    """Copies [n, C, H, W] in order, as many at a time as take about BLOCK_BYTES; each has a stream of its own."""
    shape = shards[0].shape[1:]
    step = max(1, BLOCK_BYTES // shape.numel())
    for start in range(0, len(originals), step):
        part = gather(shards, torch.from_numpy(originals[start : start + step]))
        if config.jitter:
            part = torch.stack([_jittered(image, start + number, config) for number, image in enumerate(part)])
        yield part.numpy()


def _jittered(image: torch.Tensor, number: int, config: DuplicatesAddedConfig) -> torch.Tensor:
    """An image [C, H, W] with uniform whole numbers of -jitter to jitter added to its pixels."""
    stream = generator(config.seed, "ingest", "duplicates_added", "jitter", number)
    noise = torch.randint(-config.jitter, config.jitter + 1, image.shape, dtype=torch.int16, generator=stream)
    return (image.to(torch.int16) + noise).clamp(0, 255).to(torch.uint8)
