"""The canonical order of images: by class and by the name that an image has in every copy of its set.

Folders, tables and archives of one set hold its images in orders of their own. Images that have such names get their sample_id by
them, so that the same images are the same data set, with the same scores and runs, in whichever layout they came.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from bilp.data.contents import SplitName
from bilp.data.digests import Digests
from bilp.data.items import Items
from bilp.data.shards import BLOCK_BYTES, ShardWriter, Stored, gather, map_shard
from bilp.data.texts import chained


def ranks(items: Items) -> NDArray[np.int64] | None:
    """The place [n] of each item in canonical order, or None if that is the order that they have, also for want of names."""
    if items.stems is None:
        return None
    table = pa.table({"label": items.labels, "stem": items.stems})
    order = pc.sort_indices(table, [("label", "ascending"), ("stem", "ascending")]).to_numpy().astype(np.int64)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return None if np.array_equal(order, place) and bool((np.diff(order) > 0).all()) else place


def in_order(whole: Stored, items: Items, split: SplitName, folder: Path) -> Stored:
    """The images of a split, which are some of these items, in canonical order."""
    place = ranks(items)
    return whole if place is None else reordered(whole, place, split, folder)


def reordered(whole: Stored, place: NDArray[np.int64], split: SplitName, folder: Path) -> Stored:
    """The images of a split in the order of `place`, which has one entry for each image of the source; written anew unless they
    lie so already."""
    places = place[whole.places]
    order = np.argsort(places, kind="stable")
    if bool((np.diff(order) > 0).all()):
        return replace(whole, places=places)
    writer = ShardWriter(folder, split)
    shards = [map_shard(path, whole.shape, rows) for path, rows in zip(whole.paths, whole.rows, strict=True)]
    step = max(1, BLOCK_BYTES // int(np.prod(whole.shape)))
    for start in range(0, len(order), step):
        writer.append(gather(shards, torch.from_numpy(order[start : start + step])).numpy())
    paths = writer.close()
    origins = chained([whole.origins]).take(order)
    digests = None if whole.digests is None else Digests.of(whole.digests).take(order)
    videos = None if whole.videos is None else whole.videos[order]
    return Stored(whole.shape, paths, writer.rows, whole.labels[order], origins, places[order], digests, whole.histogram, videos=videos)
