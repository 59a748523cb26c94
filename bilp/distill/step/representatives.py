"""DREAM's real batches: of every class the sample nearest to the center of each of its clusters (Liu et al. 2023, section 4).

DREAM's program hands pixels in [0, 1] to a network that it trains on normalized images (condense.py:627), and takes for each
center the nearest sample of the whole class (new_strategy.py:28); recipes of its published cells do, by `dream.clustered` and
`dream.nearest`. Its k-means takes 100 steps at most, which changes nothing beyond `dream.most_steps`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from bilp.config.methods.idc import DreamConfig
from bilp.data.pool import RealPool
from bilp.distill.step.batch import Batch
from bilp.distill.step.kmeans import kmeans, nearest_members
from bilp.distill.step.kmeans_by_class import around_origin, lloyd_by_class, nearest_members_by_class
from bilp.distill.step.setting import Setting
from bilp.distill.step.together import together_on
from bilp.matching.per_sample import micro_batches
from bilp.nets import Network
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

# Features of no more samples than this are held and clustered at once; a larger class is represented by a random part.
MOST_CLUSTERED = 16384
# Of classes that are clustered together: samples once they are padded, and of how many the images are held meanwhile.
GROUP_SAMPLES, HELD_IMAGES = 65536, 4096


class Representatives:
    """The representatives of the classes that are distilled, until they are chosen anew. Nothing of it outlives an iteration."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._chosen: list[Tensor] = []
        self._withheld: list[float] = []

    def chosen(self, pruner: AdaptivePruner | None, iteration: int, step: int) -> list[Batch]:
        """The batches of an image step; samples are chosen anew every `dream.interval` steps, and if none were chosen yet."""
        if step % self._setting.config.dream.interval == 0 or not self._chosen:
            self.choose(pruner, iteration, step)
        return self.batches(pruner, iteration, step)

    def choose(self, pruner: AdaptivePruner | None, iteration: int, step: int) -> None:
        """Cluster what adaptive pruning leaves of each class by the features of the current network, batch_real clusters each."""
        config, pool = self._setting.config, self._setting.pool
        offered = [pool.by_class[c] for c in self._setting.classes]
        remaining = offered if pruner is None else [pruner.candidates(ids, iteration) for ids in offered]
        streams = [generator(config.seed, "clusters", iteration, step, c) for c in self._setting.classes]
        members = cluster_members_by_class if together_on(self._setting.device) else _one_by_one
        self._chosen = members(self._setting.network, pool, remaining, config.batch_real, streams, config.dream)
        self._withheld = [1.0 - len(left) / len(ids) for left, ids in zip(remaining, offered, strict=True)]

    def batches(self, pruner: AdaptivePruner | None, iteration: int, step: int) -> list[Batch]:
        """One batch per class; samples that adaptive pruning dropped since the choice are left out."""
        result = []
        for c, ids, withheld in zip(self._setting.classes, self._chosen, self._withheld, strict=True):
            left = ids if pruner is None else pruner.candidates(ids, iteration)
            result.append(Batch(c, left, self._setting.draw_augmentation("augment", iteration, step, c), withheld, (iteration, step)))
        return result


@torch.no_grad()
def cluster_members(network: Network, pool: RealPool, ids: Tensor, clusters: int, stream: torch.Generator, dream: DreamConfig) -> Tensor:
    """sample_ids of the samples nearest to the centers of the clusters of `ids` `[n]` in feature space; all if there are no more.

    Images are not augmented. There are repeats if `dream.nearest` is all.

    Args:
        network: its embeddings are the features.
        pool: the real samples.
        ids: sample_ids `[n]` of one class.
        clusters: how many.
        stream: of the first centers, and of the part of a class that is too large.
        dream: what is clustered, and which sample stands for a cluster.
    """
    if len(ids) <= clusters:
        return ids
    ids = _at_most(ids, MOST_CLUSTERED, stream)
    images = _clustered_images(pool, ids, next(network.parameters()).device, dream)
    features = torch.cat([network.embed(images[rows]) for rows in micro_batches(images)])
    centers, nearest = kmeans(features, clusters, stream, dream.most_steps)
    return ids[nearest_members(features, centers, nearest, dream.nearest).cpu()]


def _one_by_one(
    network: Network, pool: RealPool, offered: Sequence[Tensor], clusters: int, streams: Sequence[torch.Generator], dream: DreamConfig
) -> list[Tensor]:
    """`cluster_members` of every class: the definition."""
    return [cluster_members(network, pool, ids, clusters, own, dream) for ids, own in zip(offered, streams, strict=True)]


@torch.no_grad()
def cluster_members_by_class(
    network: Network, pool: RealPool, offered: Sequence[Tensor], clusters: int, streams: Sequence[torch.Generator], dream: DreamConfig
) -> list[Tensor]:
    """The same, of as many classes at once as may be held: one answer of the device for each group.

    Args:
        network: its embeddings are the features.
        pool: the real samples.
        offered: sample_ids `[n]` of every class.
        clusters: how many in each class.
        streams: one for every class, as `cluster_members` has it.
        dream: what is clustered, and which sample stands for a cluster.
    """
    device = next(network.parameters()).device
    chosen = list(offered)
    large = {place: _at_most(ids, MOST_CLUSTERED, streams[place]) for place, ids in enumerate(offered) if len(ids) > clusters}
    for group in _groups({place: len(ids) for place, ids in large.items()}):
        own = [large[place] for place in group]
        first = [torch.randperm(len(ids), generator=streams[place])[:clusters] for place, ids in zip(group, own, strict=True)]
        rows, there = _padded([len(ids) for ids in own])
        parts = (_clustered_images(pool, part, device, dream) for part in torch.cat(own).split(HELD_IMAGES))
        features = torch.cat([network.embed(images[part]) for images in parts for part in micro_batches(images)])
        present = there.to(device)
        points = around_origin(features[rows.to(device)], present)
        starts = torch.stack(first).to(device).unsqueeze(2).expand(-1, -1, points.shape[2])
        centers, nearest = lloyd_by_class(points, present, points.gather(1, starts), dream.most_steps)
        found = nearest_members_by_class(points, present, centers, nearest, dream.nearest).cpu()
        for place, ids, members in zip(group, own, found, strict=True):
            chosen[place] = ids[members[members >= 0]]
    return chosen


def _at_most(ids: Tensor, most: int, stream: torch.Generator) -> Tensor:
    """`ids` `[n]`, or a random part of them, ascending."""
    return ids if len(ids) <= most else ids[torch.randperm(len(ids), generator=stream)[:most].sort().values]


def _clustered_images(pool: RealPool, ids: Tensor, device: torch.device, dream: DreamConfig) -> Tensor:
    """The images `[n, C, H, W]` whose features are clustered."""
    images = pool.images(ids, device)
    if dream.clustered == "pixels":
        mean, std = (torch.tensor(values, device=device).reshape(1, -1, 1, 1) for values in (pool.dataset.mean, pool.dataset.std))
        images = images * std + mean
    return images


def _groups(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Consecutive classes, of which `sizes` tells the samples, that may be clustered together: at most GROUP_SAMPLES once padded."""
    group: list[int] = []
    for place, size in sizes.items():
        if group and (len(group) + 1) * max(size, *(sizes[other] for other in group)) > GROUP_SAMPLES:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _padded(sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Numbers of the rows of each class, which follow one another, int64 `[C, n]`, and which of them are its own, bool `[C, n]`."""
    counts = torch.tensor(sizes).unsqueeze(1)
    within = torch.arange(max(sizes)).unsqueeze(0)
    there = within < counts
    rows = counts.cumsum(dim=0) - counts + within
    return torch.where(there, rows, 0), there
