"""Which images of a source go to the train split and which to the test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.data.contents import Labels, SplitName
from bilp.data.shards import ShardWriter, Stored, blocks, map_shard
from bilp.errors import DataError
from bilp.seeds import generator


def held_out(labels: Labels, class_names: Sequence[str], fraction: float, seed: int, where: str) -> NDArray[np.bool_]:
    """Stratified split: mask [N], true for the images held out for testing.

    Of each class with n images, round(fraction * n) are held out, but at least one is held out and one stays; which
    ones depends on the seed, the class's number and n only. Raises DataError for a class with fewer than two images.
    """
    mask = np.zeros(len(labels), dtype=np.bool_)
    for index, name in enumerate(class_names):
        members = np.flatnonzero(labels == index)
        count = len(members)
        if count < 2:
            images = "1 image" if count == 1 else f"{count} images"
            raise DataError(
                f"{where}: class {name!r} has {images}, but the source has no test split and making one needs "
                "at least 2 images of each class: add images, or provide a test split"
            )
        share = min(max(round(fraction * count), 1), count - 1)
        order = torch.randperm(count, generator=generator(seed, "ingest", "split", index)).numpy()
        mask[members[order[:share]]] = True
    return mask


def divide(whole: Stored, held: NDArray[np.bool_], folder: Path) -> dict[SplitName, Stored]:
    """Write the stored pictures anew as two splits in `folder`, each in the order of `whole`; `held` [N] goes to test."""
    sides: tuple[tuple[SplitName, NDArray[np.bool_]], ...] = (("train", ~held), ("test", held))
    divided: dict[SplitName, Stored] = {}
    for split, mask in sides:
        writer = ShardWriter(folder, split)
        start = 0
        for path in whole.paths:
            for block in blocks(map_shard(path, whole.shape)):
                writer.append(block[mask[start : start + len(block)]])
                start += len(block)
        origins = [origin for origin, chosen in zip(whole.origins, mask.tolist(), strict=True) if chosen]
        paths = writer.close()
        divided[split] = Stored(whole.shape, paths, writer.rows, whole.labels[mask], origins)
    return divided
