"""The real side of one image step: which samples each class contributes, and the mean of their vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bilp import augment
from bilp.augment import AugParams
from bilp.causal import ite
from bilp.distill.guard import Guard
from bilp.distill.sampling import packs
from bilp.distill.setting import Setting
from bilp.matching import Vectors
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

# Images of one forward pass that several classes share. More does not make a CPU faster and costs memory.
PASS_IMAGES = 512


@dataclass(frozen=True)
class Batch:
    """Real samples of one class for one image step."""

    class_index: int
    ids: Tensor
    """sample_ids `[n]`."""
    params: AugParams | None
    """Siamese augmentation, for these and for the synthetic images of the class."""
    withheld: float
    """Share of the samples in question that adaptive pruning kept away."""


@dataclass(frozen=True)
class Target:
    """What the synthetic images of a class are matched to."""

    batch: Batch
    mean: Vectors
    """Mean vector of the batch, detached."""


def draw_batches(setting: Setting, pruner: AdaptivePruner | None, iteration: int, outer: int) -> list[Batch]:
    """One batch per class from the candidates that no standing decision keeps away."""
    batches = []
    for c, ids in enumerate(setting.pool.by_class):
        remaining = ids if pruner is None else pruner.candidates(ids, iteration)
        drawn = setting.pool.draw(
            c, setting.config.batch_real, generator(setting.config.seed, "real", iteration, outer, c), among=remaining
        )
        params = setting.draw_augmentation("augment", iteration, outer, c)
        batches.append(Batch(c, drawn, params, 1.0 - len(remaining) / len(ids)))
    return batches


def targets(setting: Setting, batches: Sequence[Batch]) -> Iterator[Target]:
    """The mean vector of every batch; classes share forward passes where features are compared."""
    if setting.schedule.features:
        yield from (Target(batch, mean) for batch, mean in zip(batches, shared_means(setting, batches, PASS_IMAGES), strict=True))
        return
    for batch in batches:  # one at a time: a mean gradient is as large as the network
        yield Target(batch, _mean(setting, batch, augment.apply(setting.pool.images(batch.ids, setting.device), batch.params)))


def decided_targets(
    setting: Setting, synthetic: Tensor, pruner: AdaptivePruner, guard: Guard, iteration: int, outer: int
) -> Iterator[Target]:
    """Targets of a step that reselects: batches of the whole pool, measured against `synthetic`, matched on what is kept.

    Each class is measured when its turn comes; decisions stand until `iteration + interval`.
    """
    full = draw_batches(setting, None, iteration, outer)
    for batch in full:
        images = augment.apply(setting.pool.images(batch.ids, setting.device), batch.params)
        scores = effects(setting, synthetic, batch.class_index, images, batch.params)
        guard.check_effects(iteration, batch.class_index, scores)
        kept = pruner.decide(batch.ids, scores, batch.class_index, iteration + setting.reselect.interval)
        share = 1.0 - int(kept.sum()) / len(kept)
        chosen = Batch(batch.class_index, batch.ids[kept], batch.params, share)
        yield Target(chosen, _mean(setting, chosen, images[kept.to(images.device)]))


def effects(setting: Setting, synthetic: Tensor, class_index: int, images: Tensor, params: AugParams | None) -> Tensor:
    """Norms of the causal effect of real, already augmented images `[n, C, H, W]` of a class: float32 `[n]` on the CPU."""
    rows = setting.rows(class_index)
    chunk = synthetic[rows].detach()
    scores = ite(
        setting.matching,
        setting.network,
        images,
        setting.class_labels(class_index, len(images)),
        chunk,
        setting.class_labels(class_index, len(chunk)),
        estimator=setting.reselect.estimator,
        directions=setting.reselect.directions,
        seed=setting.config.seed,
        augment=partial(augment.apply, params=params),
    )
    return scores.cpu()


def shared_means(setting: Setting, batches: Sequence[Batch], limit: int) -> list[Vectors]:
    """Mean feature vectors of all batches, from forward passes of at most `limit` images that classes share."""
    sums: list[list[Tensor]] = [[] for _ in batches]
    for pack in packs([len(batch.ids) for batch in batches], limit):
        ids = torch.cat([batches[which].ids[start:stop] for which, start, stop in pack])
        sizes = [stop - start for _, start, stop in pack]
        raw = setting.pool.images(ids, setting.device).split(sizes)
        images = torch.cat([augment.apply(part, batches[which].params) for part, (which, _, _) in zip(raw, pack, strict=True)])
        labels = torch.cat(
            [setting.class_labels(batches[which].class_index, size) for size, (which, _, _) in zip(sizes, pack, strict=True)]
        )
        blocks = [block.split(sizes) for block in setting.matching.real(setting.network, images, labels)]
        for place, (which, _, _) in enumerate(pack):
            parts = [block[place].sum(dim=0) for block in blocks]
            sums[which] = parts if not sums[which] else [old + new for old, new in zip(sums[which], parts, strict=True)]
    return [tuple(part / len(batch.ids) for part in parts) for batch, parts in zip(batches, sums, strict=True)]


def _mean(setting: Setting, batch: Batch, images: Tensor) -> Vectors:
    return setting.matching.real_mean(setting.network, images, setting.class_labels(batch.class_index, len(images)))
