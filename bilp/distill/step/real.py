"""The real side of one image step: which samples each class contributes, and the mean of their vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bilp.config.reselect import RESELECT_MODES, RESELECT_SCORES
from bilp.data.pool import packs
from bilp.distill.step.batch import Batch, Target, sent
from bilp.distill.step.divergence import Guard
from bilp.distill.step.sample_scores import Scored, score_batches
from bilp.distill.step.setting import Setting
from bilp.distill.step.synthetic import grouped
from bilp.distill.step.whole_batches import batches_per_pass, whole_means
from bilp.images.siamese import apply_by_family
from bilp.matching import Vectors
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator, numbered_streams

# Images of one forward pass that several classes share. More does not make a CPU faster and costs memory.
PASS_IMAGES = 512


def draw_batches(setting: Setting, pruner: AdaptivePruner | None, iteration: int, outer: int) -> list[Batch]:
    """One batch per class, without the samples that a standing decision keeps away.

    Mode refill draws from the candidates that remain. Mode shrink draws as if nothing were decided and takes the
    decided ones out, so that the batch gets smaller and the step cheaper; with an interval, the batch that was measured
    at the interval's beginning is the batch of all its steps. Never fewer than the pruner's floor. Mode weight draws from all
    candidates, each with its weight.
    """
    shrink = pruner is not None and RESELECT_MODES[setting.reselect.mode].shrinks
    drawn_at = _drawn_at(setting, iteration, outer) if shrink else (iteration, outer)
    classes, stream = setting.classes, numbered_streams(setting.config.seed, "real", *drawn_at)
    offered, remaining, drawn = _offered(setting, pruner, iteration, shrink, stream)
    withheld = [1.0 - len(left) / len(whole) for left, whole in zip(remaining, offered, strict=True)]
    weights = [None] * len(classes) if pruner is None else pruner.weights_of_each(drawn)
    params = setting.draw_augmentations(classes, "augment", iteration, outer)
    parts = zip(classes, drawn, params, withheld, weights, strict=True)
    return [Batch(c, ids, own, share, (iteration, outer), weight) for c, ids, own, share, weight in parts]


def _offered(
    setting: Setting, pruner: AdaptivePruner | None, iteration: int, shrink: bool, stream: Callable[[int], torch.Generator]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """For each class the samples in question, those of them that no decision keeps away, and the batch; `stream` draws it.

    Args:
        setting: what stays fixed.
        pruner: what decided so far, or None without it.
        iteration: at which decisions stand.
        shrink: whether decided samples are taken out of a batch that is drawn, or are not drawn.
        stream: the stream of a class.
    """
    pool, size, classes = setting.pool, setting.config.batch_real, setting.classes
    if pruner is not None and not shrink:
        offered = [pool.by_class[c] for c in classes]
        remaining = pruner.candidates_of_each(offered, iteration)
        return offered, remaining, [pool.draw(c, size, stream(c), among=left) for c, left in zip(classes, remaining, strict=True)]
    offered = [pool.draw(c, size, stream(c)) for c in classes]
    remaining = offered if pruner is None else pruner.candidates_of_each(offered, iteration)
    return offered, remaining, remaining


def deciding_step(setting: Setting, iteration: int) -> int | None:
    """The outer loop of this iteration that reselects, or None.

    Every `interval`-th iteration has one, drawn uniformly, so that the networks behind the decisions are trained as
    far as those of the matching are.
    """
    interval = setting.reselect.interval
    if not setting.reselect.active or interval == 0 or iteration % interval:
        return None
    stream = generator(setting.config.seed, "reselect_outer", iteration)
    return int(torch.randint(setting.schedule.outer_loops, (1,), generator=stream))


def _drawn_at(setting: Setting, iteration: int, outer: int) -> tuple[int, int]:
    """Iteration and outer loop whose stream draws the batches of mode shrink: those of the interval's decision."""
    begin = iteration - iteration % setting.reselect.interval if setting.reselect.interval else iteration
    decided = deciding_step(setting, begin)
    return (iteration, outer) if decided is None else (begin, decided)


def targets(setting: Setting, batches: Sequence[Batch]) -> Iterator[Target]:
    """The mean vector of every batch; classes share passes, on a CPU only where features are compared."""
    if setting.device.type != "cpu":
        for together in grouped(batches, batches_per_pass(setting, max((len(batch.ids) for batch in batches), default=1))):
            yield from (Target(batch, mean) for batch, mean in zip(together, whole_means(setting, together), strict=True))
        return
    if setting.schedule.features:
        means = shared_means(setting, batches, samples_per_pass(setting))
        yield from (Target(batch, mean) for batch, mean in zip(batches, means, strict=True))
        return
    for batch in batches:  # one at a time: a mean gradient is as large as the network
        images = batch.images(setting)
        labels = setting.class_labels(batch.class_index, len(images))
        if batch.weights is None:
            yield Target(batch, setting.matching.real_mean(setting.real_network, images, labels))
        else:
            yield Target(batch, setting.matching.weighted_mean(setting.real_network, images, labels, batch.weights))


def decided_targets(
    setting: Setting, synthetic: Tensor, pruner: AdaptivePruner, guard: Guard, place: tuple[int, int], *, by_class: bool = False
) -> Iterator[Target]:
    """Targets of a step that reselects: batches of the whole pool, measured against `synthetic`, matched on what is kept.

    Decisions stand until an interval after the step's iteration. Raises Diverged.

    Args:
        setting: what stays fixed.
        synthetic: all synthetic images `[classes * ipc, C, H, W]`.
        pruner: what decides.
        guard: what checks the scores.
        place: iteration, and image step within it.
        by_class: whether each class is measured when its turn comes, on the images as they are then; otherwise classes may be
            measured together.
    """
    iteration, interval = place[0], setting.reselect.interval
    full = sent(setting, draw_batches(setting, None, *place))
    word = RESELECT_SCORES[setting.reselect.score].noun
    found: Iterator[Scored]
    if by_class:
        found = (scored for batch in full for scored in score_batches(setting, synthetic, [batch]))
    else:
        found = score_batches(setting, synthetic, full)
    for batch, scored in zip(full, found, strict=True):
        guard.check_effects(iteration, batch.class_index, scored.values, word)
        kept = pruner.decide(batch.ids, scored.values, batch.class_index, iteration + interval)
        weights = pruner.weights(batch.ids)
        if weights is not None:
            yield Target(replace(batch, weights=weights), scored.weighted_mean(weights))
            continue
        share = 1.0 - int(kept.sum()) / len(kept)
        yield Target(replace(batch, ids=batch.ids[kept], withheld=share), scored.mean_of(kept))


def samples_per_pass(setting: Setting) -> int:
    """Samples of a forward pass that classes share; every frame of a clip counts as an image."""
    return max(1, PASS_IMAGES // setting.frames)


def shared_means(setting: Setting, batches: Sequence[Batch], limit: int) -> list[Vectors]:
    """Mean feature vectors of all batches, from forward passes of at most `limit` samples that classes share; blocks `[F]`.

    Of a batch with weights, the weighted mean; equal weights change nothing.
    """
    shares = [batch.shares for batch in batches]
    sums: list[list[Tensor]] = [[] for _ in batches]
    for pack in packs([len(batch.ids) for batch in batches], limit):
        ids = torch.cat([batches[which].ids[start:stop] for which, start, stop in pack])
        sizes = [stop - start for _, start, stop in pack]
        images = apply_by_family(setting.pool.images(ids, setting.device), [batches[which].params for which, _, _ in pack], sizes)
        labels = torch.tensor([batches[which].class_index for which, _, _ in pack]).repeat_interleave(torch.tensor(sizes))
        blocks = [block.split(sizes) for block in setting.matching.real(setting.real_network, images, labels.to(setting.device))]
        for place, (which, _, _) in enumerate(pack):
            _, start, stop = pack[place]
            own = shares[which]
            parts = [
                block[place].sum(dim=0) if own is None else torch.tensordot(own[start:stop].to(block[place]), block[place], dims=1)
                for block in blocks
            ]
            sums[which] = parts if not sums[which] else [old + new for old, new in zip(sums[which], parts, strict=True)]
    return [
        tuple(part / len(batch.ids) if own is None else part for part in parts)
        for batch, own, parts in zip(batches, shares, sums, strict=True)
    ]
