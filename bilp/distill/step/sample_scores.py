"""What adaptive pruning ranks real samples by: the causal effect, or a cheap substitute to compare it with.

Every score but the signed effect is a length or a loss, so not negative; all go through the same pruner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, tee
from operator import attrgetter

import torch
from torch import Tensor

from bilp.causal import ClassBatch, EffectSettings, measure_classes, signed_effects
from bilp.causal.effect_settings import BYTE_BUDGET
from bilp.config import METHODS
from bilp.config.arithmetics import FLOAT32
from bilp.config.reselect import RESELECT_SCORES
from bilp.data.pool import even_chunks
from bilp.distill.step.batch import Batch
from bilp.distill.step.held_out_loss import halves, held_out_directions
from bilp.distill.step.setting import Setting
from bilp.distill.step.substitutes import Substitute
from bilp.images.augment import AugParams
from bilp.matching import Vectors
from bilp.nets.arithmetic import arithmetic
from bilp.registry import resolve


@dataclass(frozen=True)
class Scored:
    """Scores of one class's batch, and the mean vector of any part of it."""

    class_index: int
    values: Tensor
    """float32 `[n]` on the CPU."""
    mean_of: Callable[[Tensor], Vectors]
    """Mean vector of the samples where a bool `[n]` on the CPU is true; only as long as the network stays as it is."""
    weighted_mean: Callable[[Tensor], Vectors]
    """The same with a weight for every sample, float `[n]`."""


def score_batches(setting: Setting, synthetic: Tensor, batches: Iterable[Batch]) -> Iterator[Scored]:
    """Scores of real samples against all synthetic images `[classes * ipc, C, H, W]`, in order; classes share passes where that pays.

    The causal effect is that on the stored images, through those decoded from them; it has formed every sample's vector
    and takes the mean from them. A batch is asked for when its group is measured; `synthetic` and the network must stay as
    they are meanwhile. Raises ConfigError for the effect of a single sample.
    """
    substitute = _substitute(setting)
    if substitute is not None:
        yield from (_substituted(setting, substitute, batch) for batch in batches)
        return
    if own := METHODS[setting.config.method].measures:
        with arithmetic(FLOAT32, setting.device):
            yield from resolve(own)(setting, synthetic, batches)
        return
    if RESELECT_SCORES[setting.reselect.score].signed:
        yield from _signed(setting, synthetic, batches)
        return
    batches, named = tee(batches)
    found = measure_classes(
        setting.matching,
        setting.network,
        (_class_batch(setting, synthetic, batch) for batch in batches),
        EffectSettings(
            setting.reselect.estimator,
            BYTE_BUDGET.on(setting.device),
            directions=setting.reselect.directions,
            seed=setting.config.seed,
            precision=setting.reselect.precision,
        ),
    )
    for batch in named:
        with arithmetic(FLOAT32, setting.device):  # effects are differences that rounding would drown
            measured = next(found)
        yield Scored(batch.class_index, measured.norms.cpu(), measured.mean_of, measured.weighted_mean)


def score_pools(
    setting: Setting, synthetic: Tensor, pools: Iterable[tuple[int, Tensor, AugParams | None]], *path: str | int
) -> Iterator[Tensor]:
    """Scores of the sample_ids `[n]` of every class, float32 `[n]` on the CPU, in chunks about the size of a batch.

    `pools` holds class, sample_ids and augmentation. `path` and a chunk's number name the streams of what is drawn.
    """
    chunks = (
        Batch(class_index, part, params, path=(*path, place))
        for class_index, ids, params in pools
        for place, part in enumerate(even_chunks(ids, setting.config.batch_real))
    )
    substitute = _substitute(setting)
    if substitute is None:
        measured = score_batches(setting, synthetic, chunks)
        for _, of_class in groupby(measured, key=attrgetter("class_index")):
            yield torch.cat([scored.values for scored in of_class])
    else:  # some substitutes compare a sample with all others of its class
        prepared = substitute.prepare(setting, synthetic, *path)
        for _, batches in groupby(chunks, key=attrgetter("class_index")):
            raw = torch.cat([_raw(setting, substitute, batch, batch.images(setting), prepared) for batch in batches])
            yield substitute.score(raw).float().cpu()


def _class_batch(setting: Setting, synthetic: Tensor, batch: Batch) -> ClassBatch:
    images, own = batch.images(setting), synthetic[setting.rows(batch.class_index)].detach()
    decoded = setting.choose_decoded("decoded", *batch.path, batch.class_index)
    entering = setting.config.decode.count(len(own)) if decoded is None else len(decoded)
    return ClassBatch(
        (images, setting.class_labels(batch.class_index, len(images))),
        (own, setting.class_labels(batch.class_index, entering)),
        partial(setting.network_inputs, params=batch.params, chosen=decoded),
    )


def _signed(setting: Setting, synthetic: Tensor, batches: Iterable[Batch]) -> Iterator[Scored]:
    """Signed effects along the directions that held-out samples ask for; all batches share them, drawn by the path of the first."""
    half_of, directions = halves(setting), None
    for batch in batches:
        if directions is None:
            directions = held_out_directions(setting, synthetic, half_of, *batch.path)
        with arithmetic(FLOAT32, setting.device):
            found = signed_effects(
                setting.matching,
                setting.network,
                _class_batch(setting, synthetic, batch),
                directions[:, setting.rows(batch.class_index)],
                EffectSettings(byte_budget=BYTE_BUDGET.on(setting.device), seed=setting.config.seed),
            )
        own = half_of[batch.ids].unsqueeze(0)
        yield Scored(batch.class_index, found.along.cpu().gather(0, own).squeeze(0), found.mean_of, found.weighted_mean)


def _substituted(setting: Setting, substitute: Substitute, batch: Batch) -> Scored:
    images = batch.images(setting)
    return means_of(setting, batch, images, substitute.score(_raw(setting, substitute, batch, images, None)).float().cpu())


def means_of(setting: Setting, batch: Batch, images: Tensor, values: Tensor) -> Scored:
    """Scores of a batch whose means take passes of their own over its images `[n, C, H, W]`."""

    def mean_of(kept: Tensor) -> Vectors:
        chosen = images[kept.nonzero().squeeze(1).to(images.device)]
        return setting.matching.real_mean(setting.network, chosen, setting.class_labels(batch.class_index, len(chosen)))

    def weighted_mean(weights: Tensor) -> Vectors:
        labels = setting.class_labels(batch.class_index, len(images))
        return setting.matching.weighted_mean(setting.network, images, labels, weights)

    return Scored(batch.class_index, values, mean_of, weighted_mean)


@torch.no_grad()
def _raw(setting: Setting, substitute: Substitute, batch: Batch, images: Tensor, prepared: object) -> Tensor:
    """What a substitute needs of each of the batch's images `[n, C, H, W]`: a number `[n]`, or a vector `[n, F]`."""
    return substitute.raw(setting, batch, images, prepared)


def _substitute(setting: Setting) -> Substitute | None:
    """What is measured in place of the causal effect, if anything."""
    path = RESELECT_SCORES[setting.reselect.score].substitute
    found: Substitute | None = resolve(path) if path is not None else None
    return found
