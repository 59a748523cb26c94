"""DREAM's real batches: of every class the sample nearest to the center of each of its clusters (Liu et al. 2023, section 4).

DREAM's program hands pixels in [0, 1] to a network that it trains on normalized images (condense.py:627), and takes for each
center the nearest sample of the whole class (new_strategy.py:28); recipes of its published cells do, by `dream.clustered` and
`dream.nearest`. Its k-means takes 100 steps at most, which changes nothing beyond `dream.most_steps`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.config.methods.idc import DreamConfig
from bilp.data.pool import RealPool
from bilp.distill.step.batch import Batch
from bilp.distill.step.kmeans import kmeans, nearest_members
from bilp.distill.step.setting import Setting
from bilp.matching.per_sample import micro_batches
from bilp.nets import Network
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

# Features of no more samples than this are held and clustered at once; a larger class is represented by a random part.
MOST_CLUSTERED = 16384


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
        config = self._setting.config
        self._chosen, self._withheld = [], []
        for c in self._setting.classes:
            ids = self._setting.pool.by_class[c]
            remaining = ids if pruner is None else pruner.candidates(ids, iteration)
            stream = generator(config.seed, "clusters", iteration, step, c)
            self._chosen.append(
                cluster_members(self._setting.network, self._setting.pool, remaining, config.batch_real, stream, config.dream)
            )
            self._withheld.append(1.0 - len(remaining) / len(ids))

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
    if len(ids) > MOST_CLUSTERED:
        ids = ids[torch.randperm(len(ids), generator=stream)[:MOST_CLUSTERED].sort().values]
    device = next(network.parameters()).device
    images = pool.images(ids, device)
    if dream.clustered == "pixels":
        mean, std = (torch.tensor(values, device=device).reshape(1, -1, 1, 1) for values in (pool.dataset.mean, pool.dataset.std))
        images = images * std + mean
    features = torch.cat([network.embed(images[rows]) for rows in micro_batches(images)])
    centers, nearest = kmeans(features, clusters, stream, dream.most_steps)
    return ids[nearest_members(features, centers, nearest, dream.nearest).cpu()]
