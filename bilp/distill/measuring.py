"""What adaptive pruning ranks real samples by: the causal effect, or a cheap substitute to compare it with.

Every score is a length or a loss, so it is finite and not negative, and goes through the same pruner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from bilp import augment
from bilp.arithmetic import arithmetic
from bilp.augment import AugParams
from bilp.causal import measure
from bilp.distill.sampling import even_chunks
from bilp.distill.setting import Setting
from bilp.matching import Vectors
from bilp.matching.per_sample import micro_batches
from bilp.seeds import generator


@dataclass(frozen=True)
class Scored:
    """Scores of one class's batch, and the mean vector of any part of it."""

    values: Tensor
    """float32 `[n]` on the CPU."""
    mean_of: Callable[[Tensor], Vectors]
    """Mean vector of the samples where a bool `[n]` is true; only as long as the network stays as it is."""


def score_batch(
    setting: Setting, synthetic: Tensor, class_index: int, images: Tensor, params: AugParams | None, *path: str | int
) -> Scored:
    """Scores of real, already augmented images `[n, C, H, W]` of a class against all synthetic images `synthetic`.

    The causal effect is that on the stored images, through those decoded from them; it has formed every sample's vector
    and takes the mean from them. `path` names the streams of what is drawn. Raises ConfigError for the effect of a single
    sample.
    """
    if setting.reselect.score == "ite":
        own = synthetic[setting.rows(class_index)].detach()
        decoded = setting.choose_decoded("decoded", *path, class_index)
        entering = setting.config.decode.count(len(own)) if decoded is None else len(decoded)
        with arithmetic("float32", setting.device):  # effects are differences that rounding would drown
            found = measure(
                setting.matching,
                setting.network,
                (images, setting.class_labels(class_index, len(images))),
                (own, setting.class_labels(class_index, entering)),
                setting.reselect.estimator,
                augment=partial(setting.entering, params=params, chosen=decoded),
                directions=setting.reselect.directions,
                seed=setting.config.seed,
                precision=setting.reselect.precision,
            )
        return Scored(found.norms.cpu(), found.mean_of)
    values = _finish(setting, _raw(setting, class_index, images, *path))

    def mean_of(kept: Tensor) -> Vectors:
        chosen = images[kept.to(images.device)]
        return setting.matching.real_mean(setting.network, chosen, setting.class_labels(class_index, len(chosen)))

    return Scored(values, mean_of)


def score_pool(setting: Setting, synthetic: Tensor, class_index: int, ids: Tensor, params: AugParams | None, *path: str | int) -> Tensor:
    """Scores of the sample_ids `[n]` of a class, in chunks about the size of a batch: float32 `[n]` on the CPU."""
    parts = []
    for place, chunk in enumerate(even_chunks(ids, setting.config.batch_real)):
        images = augment.apply(setting.pool.images(chunk, setting.device), params)
        if setting.reselect.score == "ite":
            parts.append(score_batch(setting, synthetic, class_index, images, params, *path, place).values)
        else:
            parts.append(_raw(setting, class_index, images, *path, place))
    return torch.cat(parts) if setting.reselect.score == "ite" else _finish(setting, torch.cat(parts))


@torch.no_grad()
def _raw(setting: Setting, class_index: int, images: Tensor, *path: str | int) -> Tensor:
    """What a substitute needs of each image: its loss `[n]`, its embedding `[n, F]`, or a number drawn from its stream `[n]`."""
    if setting.reselect.score == "random":
        return torch.rand(len(images), generator=generator(setting.config.seed, "reselect_random", *path, class_index))
    if setting.reselect.score == "feature_distance":
        return torch.cat([setting.network.embed(images[rows]) for rows in micro_batches(images)])
    logits = torch.cat([setting.network(images[rows]) for rows in micro_batches(images)])
    return functional.cross_entropy(logits, setting.class_labels(class_index, len(images)), reduction="none")


def _finish(setting: Setting, raw: Tensor) -> Tensor:
    """Scores from what `_raw` returned for all samples of a class that are measured together."""
    if setting.reselect.score == "feature_distance":
        raw = torch.linalg.vector_norm(raw - raw.mean(dim=0), dim=1)
    return raw.float().cpu()
