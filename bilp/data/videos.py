"""Which samples are windows of one video: they share one answer in a test, and lie on one side of a split.

`ingest.clips` takes several windows of a video. Numbers of videos mean nothing but equality until a split is stored, which numbers
them from 0 in the order in which they are first met (`renumbered`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from bilp.data.contents import SplitName
from bilp.data.items import Items

Videos = NDArray[np.int64]
"""The number of each sample's video, [N]."""


def videos_of(items: Items) -> Videos:
    """The video of each item: items that lie at one place are windows of one."""
    paths = pa.array([path.encode("utf-8", "surrogateescape") for path in items.files], pa.binary())  # a file may be listed twice
    file = paths.dictionary_encode().indices.to_numpy().astype(np.int64)
    return _numbered(np.stack([file[items.file], items.offset], axis=1))


def renumbered(videos: Videos) -> Videos:
    """The same from 0 on, in the order in which they are first met."""
    return _numbered(videos[:, None])


def videos_fact(videos: Mapping[SplitName, Videos]) -> dict[str, dict[str, int]]:
    """The fact of a data set that says how many videos each split has, given their numbers from 0; none without any."""
    return {"videos": {split: int(numbers.max(initial=-1)) + 1 for split, numbers in videos.items()}} if videos else {}


def together(videos: Videos, pictures: Videos) -> Videos:
    """Numbers [N] that are equal for windows of one video and for equal pixels (of one number in `pictures` [N]), also by way of others."""
    count = len(videos)
    nodes = np.concatenate([renumbered(videos) + count, renumbered(pictures) + 2 * count])
    samples = np.tile(np.arange(count), 2)
    links = coo_matrix((np.ones(2 * count, dtype=np.int8), (samples, nodes)), shape=(3 * count, 3 * count))
    return renumbered(connected_components(links, directed=False)[1][:count].astype(np.int64))


def first_windows(videos: Videos) -> NDArray[np.bool_]:
    """Marks the first sample of each video, [N]."""
    mask = np.zeros(len(videos), dtype=np.bool_)
    mask[np.unique(videos, return_index=True)[1]] = True
    return mask


def _numbered(keys: NDArray[np.int64]) -> Videos:
    """A number for each of these rows [N, K], the same for equal ones, from 0 in the order in which they are first met."""
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers: Videos = rank[inverse.reshape(-1)]
    return numbers
