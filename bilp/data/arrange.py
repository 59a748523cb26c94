"""Which of a source's pictures form the data set: duplicates are found, and dropped if asked; a test split is made if there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bilp.config import IngestConfig
from bilp.data.contents import SPLITS, Labels, SplitName, counted
from bilp.data.digests import Digests
from bilp.data.duplicates import Duplicates, Mask, find_duplicates, numbered
from bilp.data.measure import image_digests
from bilp.data.shards import Stored
from bilp.data.splitting import held_out, held_out_by_pixels, select
from bilp.data.videos import together
from bilp.errors import DataError
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class Arranged:
    """The data set's pictures and their digests by split, the source's, and the duplicates that were found among these.

    `divided` says that the test split was made here, `dropped` that surplus duplicates were dropped.
    """

    stored: Mapping[SplitName, Stored]
    digests: Mapping[SplitName, Sequence[str]]
    source: Mapping[SplitName, Stored]
    source_digests: Mapping[SplitName, Sequence[str]]
    duplicates: Duplicates
    divided: bool
    dropped: bool


def arrange(source: Mapping[SplitName, Stored], class_names: Sequence[str], config: IngestConfig, folder: Path, where: str) -> Arranged:
    """Both splits of the data set, written anew into `folder` (which must not be that of `source`) unless they are the source's.

    Raises DataError if a class has too few different pictures for a test split, or loses all of a split as duplicates.

    Args:
        source: The pictures as they were decoded, by split of the source.
        class_names: In label order.
        config: Says what becomes of duplicates, and how a test split is made.
        folder: For shards.
        where: Names the source in messages.
    """
    dropped, divided = config.duplicates == "drop", "test" not in source
    digests = {split: side.digests or image_digests(side.paths, side.shape) for split, side in source.items()}
    found = find_duplicates(source, digests)
    masks = {split: ~mask if dropped else np.ones_like(mask) for split, mask in found.surplus.items()}
    check_kept(
        {split: source[split].labels[mask] for split, mask in masks.items()},
        class_names,
        f"{where}: dropping duplicates leaves no",
        "set ingest.duplicates to keep, or take equal pictures out of the other classes or the test split",
    )
    home: dict[SplitName, SplitName] = {split: split if split in source else "train" for split in SPLITS}
    if divided:
        masks = _divided(masks["train"], source["train"], digests["train"], class_names, config, where)
    elif all(mask.all() for mask in masks.values()):
        return Arranged(source, digests, source, digests, found, divided, dropped)
    stored = {split: select(source[home[split]], masks[split], split, folder) for split in SPLITS}
    chosen = {split: Digests.of(digests[home[split]]).take(np.flatnonzero(masks[split])) for split in SPLITS}
    return Arranged(stored, chosen, source, digests, found, divided, dropped)


def check_kept(labels: Mapping[SplitName, Labels], class_names: Sequence[str], problem: str, remedy: str) -> None:
    """Raise DataError, made of `problem` and `remedy`, if a class has no image in a split any more."""
    for split, side in labels.items():
        counts = np.bincount(side, minlength=len(class_names))
        empty = [name for name, count in zip(class_names, counts.tolist(), strict=True) if count == 0]
        if empty:
            count = counted(len(empty), "such class", "such classes")
            raise DataError(f"{problem} {split} {spoken('image')} of class {empty[0]!r} ({count}): {spoken(remedy)}")


def _divided(
    kept: Mask, source: Stored, digests: Sequence[str], class_names: Sequence[str], config: IngestConfig, where: str
) -> dict[SplitName, Mask]:
    """Masks [N] of both splits made of the `kept` images of a source's only split."""
    held, labels = kept.copy(), source.labels
    pictures = numbered(digests) if source.videos is None else together(source.videos, numbered(digests))
    given = labels[kept], class_names, config.test_fraction, config.split_seed, where, pictures[kept]
    by_pixels = config.hold_out == "pixels"
    held[kept] = held_out_by_pixels(*given, Digests.of(digests).values[kept]) if by_pixels else held_out(*given)
    return {"train": kept & ~held, "test": held}
