"""Equal and nearly equal training images, by their pixels: for each the nearest other one.

Every image is reduced to SIDE x SIDE pixels, freed of its mean and brought to unit length, so that neither brightness nor contrast
counts; the distance of two is 1 - cosine. Of clips, so is every frame, and all together are brought to unit length. Up to EXACT_UP_TO
images every pair is compared, in blocks. Beyond, images are compared that share a bucket of random signs (Charikar 2002) in one of TABLES
tables: of pairs at the angle of cosine 0.99 a hundredth is missed. Memory is one block besides the reduced images (at most 768 bytes each,
or each frame); time grows by the square, then by the number, of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bilp.config.shapes import side_of
from bilp.data.store import Split
from bilp.images.frames import in_channels
from bilp.progress import Progress, silent
from bilp.seeds import generator

SIDE = 8
EXACT_UP_TO = 2**16
BLOCK = 2048
"""Images that are compared at a time with as many others."""
TABLES, BUCKET = 16, 24
"""Tables of random signs, and images that a bucket holds on average."""
LARGEST_BUCKET = 512
"""Images of a bucket that are compared with each other; larger ones are cut in the order of another projection."""
NONE = -1


@dataclass(frozen=True)
class Neighbors:
    """Of N images: distance `[N]` (float64) to the nearest other, 2 if none was compared, and which one `[N]` (NONE likewise)."""

    distance: np.ndarray
    nearest: np.ndarray


def reduced(split: Split) -> Tensor:
    """What is compared: float32 `[N, D]` of unit length; an image of one color throughout is 0."""
    parts = []
    for rows in torch.arange(len(split)).split(4096):
        pixels = in_channels(split.images(rows)).float()
        height, width = side_of(pixels.shape)
        side = (min(SIDE, height), min(SIDE, width))
        small = torch.nn.functional.adaptive_avg_pool2d(pixels, side).flatten(1)
        parts.append(torch.nn.functional.normalize(small - small.mean(dim=1, keepdim=True), eps=1e-3))
    return torch.cat(parts)


def nearest_neighbors(features: Tensor, progress: Progress = silent) -> Neighbors:
    """The nearest other image of each, for features `[N, D]` of unit length; of equally near ones the first that was compared."""
    found = _Nearest(len(features))
    pairs = list(_every_block(len(features))) if len(features) <= EXACT_UP_TO else None
    total = len(pairs) if pairs is not None else TABLES
    if pairs is not None:
        for done, (rows, others) in enumerate(pairs, 1):
            found.compare(features, torch.arange(*rows), torch.arange(*others))
            progress(done, total, "comparing samples")
    else:
        for table in range(TABLES):
            for members in _buckets(features, table):
                found.compare(features, members, members)
            progress(table + 1, total, "comparing samples")
    return Neighbors(1.0 - found.cosine.double().numpy(), found.nearest.numpy())


class _Nearest:
    """The largest cosine so far, and with whom."""

    def __init__(self, samples: int) -> None:
        self.cosine = torch.full((samples,), -1.0)
        self.nearest = torch.full((samples,), NONE, dtype=torch.int64)

    def compare(self, features: Tensor, rows: Tensor, others: Tensor) -> None:
        """Take in the cosines of `rows` [n] with `others` [m]."""
        cosines = features[rows] @ features[others].T
        cosines[rows[:, None] == others[None, :]] = -2.0
        best, places = cosines.max(dim=1)
        better = best > self.cosine[rows]
        self.cosine[rows[better]] = best[better].clamp(max=1.0)
        self.nearest[rows[better]] = others[places[better]]


def _every_block(samples: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    starts = [(start, min(start + BLOCK, samples)) for start in range(0, samples, BLOCK)]
    return ((rows, others) for rows in starts for others in starts)


def _buckets(features: Tensor, table: int) -> Iterator[Tensor]:
    """Groups of images whose projections on some random directions have the same signs."""
    bits = max(1, (len(features) // BUCKET).bit_length() - 1)
    directions = torch.randn(features.shape[1], bits + 1, generator=generator(0, "near duplicates", table))
    projected = (features - features.mean(dim=0)) @ directions
    codes = ((projected[:, :bits] > 0).long() << torch.arange(bits)).sum(dim=1)
    along = torch.argsort(projected[:, bits], stable=True)
    order = along[torch.argsort(codes[along], stable=True)]
    cuts = (codes[order][1:] != codes[order][:-1]).nonzero().squeeze(1) + 1
    lengths = torch.diff(cuts, prepend=torch.tensor([0]), append=torch.tensor([len(order)])).tolist()
    for members in order.split(lengths):
        yield from (part for part in members.split(LARGEST_BUCKET) if len(part) > 1)


def duplicate_sets(equal: np.ndarray, near: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """The number `[N]` of the set of duplicates that each sample belongs to, sets in the order of their first member; NONE outside of any.

    Samples belong together if their pixels are equal (`equal` `[N]`: same number), and if one is `near` `[N]` to its `nearest` `[N]`.
    """
    root = np.arange(len(near))
    _, first, group = np.unique(equal, return_index=True, return_inverse=True)
    edges = np.concatenate(
        (np.stack((np.arange(len(equal)), first[group]), axis=1), np.stack((np.flatnonzero(near), nearest[near]), axis=1))
    )
    for one, other in edges[edges[:, 0] != edges[:, 1]].tolist():
        low, high = sorted((_top(root, one), _top(root, other)))
        root[high] = low
    tops = np.array([_top(root, sample) for sample in range(len(root))])
    sizes = np.bincount(tops, minlength=len(root))
    together = sizes[tops] > 1
    numbers = np.full(len(root), NONE, dtype=np.int64)
    numbers[together] = np.unique(tops[together], return_inverse=True)[1]
    return numbers


def _top(root: np.ndarray, sample: int) -> int:
    while root[sample] != sample:
        root[sample] = root[root[sample]]
        sample = int(root[sample])
    return sample
