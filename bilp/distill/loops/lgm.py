"""The loop of LGM (Cazenavette et al. 2025): synthetic images under a frozen encoder get the gradient of a linear classifier of real ones.

For every iteration a new classifier; one step on all images at once, on 1 - cos(G_r, G_s) of the mean gradients of its
cross-entropy (`bilp.matching.head_gradient`). G_s is the mean over several copies of every synthetic image, each augmented on its own.

Where the paper's program draws real samples of all classes together and augments each, a batch here has equally many of every
class, whose means count the same, and real samples enter as they are, so that each passes the encoder once and for all. Its
optimizer and its pyramid of pixels are in `bilp.distill.step.levels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.causal.head_effects import LeftOut, effect_norms, leave_one_out_norms
from bilp.config.estimators import ESTIMATORS
from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.step.batch import Batch, joint_shares
from bilp.distill.step.frozen_encoder import pass_images
from bilp.distill.step.levels import Levels
from bilp.distill.step.sample_scores import Scored
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.distill.step.synthetic import PASS_BYTES, augment_classes, image_bytes
from bilp.images import augment
from bilp.matching import Vectors
from bilp.matching.base import shares_of
from bilp.matching.head_gradient import HeadInputs, cosine_cotangent, cosine_distance


class HeadIterations(Iterations):
    """One image step per classifier."""

    def prepare(self) -> None:
        """What Adam steps."""
        dataset = self.setting.pool.dataset
        self._levels = Levels(self.setting.config, self.state, dataset.mean, dataset.std)

    def iteration(self, number: int) -> Iterator[Step]:
        """A new classifier and an image step."""
        setting, state = self.setting, self.state
        self._levels.grow(number)
        setting.encoder.draw("network", number)
        batches = self.joint_batches(number)
        loss, gradient = image_gradient(setting, state.images, real_gradient(setting, batches), number, 0)
        self._levels.step(gradient, number)
        yield self.joint_step(number, loss, gradient, batches)


def draw_encoder(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """An encoder and a classifier as the image steps meet them, for a reselection."""
    setting.encoder.draw("reselect_network", round_number, which)


def real_gradient(setting: Setting, batches: Sequence[Batch]) -> Tensor:
    """G_r `[C, F + 1]`: the mean over classes of the mean gradients of their batches, with the weights of these."""
    sizes = torch.tensor([len(batch.ids) for batch in batches])
    labels = torch.tensor([batch.class_index for batch in batches]).repeat_interleave(sizes).to(setting.device)
    real = setting.encoder.real(torch.cat([batch.ids for batch in batches]), labels)
    return real.mean_gradient(joint_shares(batches).to(setting.device))


def image_gradient(setting: Setting, images: Tensor, real: Tensor, *path: str | int) -> tuple[Tensor, Tensor]:
    """1 - cos(G_r, G_s), a scalar, and its gradient with respect to all synthetic images `[M, C, H, W]`.

    The gradient with respect to features is known in closed form, so images pass the encoder in parts where all would be too much.

    Args:
        setting: what stays fixed; an encoder has been drawn.
        images: the stored synthetic images `[M, C, H, W]`.
        real: G_r.
        path: names of the streams of the copies' augmentation.
    """
    stored = images.detach().requires_grad_()
    with torch.enable_grad():
        entering = copies(setting, stored, *path)
    points = entering.detach()
    parts = points.split(_at_once(setting))
    if len(parts) == 1:
        leaf = points.requires_grad_()
        with torch.enable_grad():
            features = setting.network.embed(leaf)
        loss, by_feature = _loss(setting, features.detach(), real)
        (by_point,) = torch.autograd.grad(features, leaf, by_feature)
    else:
        with torch.no_grad():
            loss, by_feature = _loss(setting, torch.cat([setting.network.embed(part) for part in parts]), real)
        by_point = torch.cat([_pulled(setting, *pair) for pair in zip(parts, by_feature.split(len(parts[0])), strict=True)])
    (gradient,) = torch.autograd.grad(entering, stored, by_point, materialize_grads=True)
    return loss, gradient


def copies(setting: Setting, images: Tensor, *path: str | int) -> Tensor:
    """Several copies of all synthetic images, one after the other, augmented class by class from the streams called `path`."""
    count = setting.config.linear.copies
    params = [own for k in range(count) for own in setting.draw_augmentations(setting.classes, "copies", *path, k)]
    repeated = images.repeat(count, *[1] * (images.dim() - 1))
    return augment_classes(repeated, augment.send(params, setting.side, setting.device))


def measure(setting: Setting, synthetic: Tensor, batches: Iterable[Batch]) -> Iterator[Scored]:
    """Norms of causal effects on the features of the synthetic images, which no pass through the encoder needs but that of these.

    A sample is left out of its own batch; the other classes are what all of their batches say together.
    """
    batches = list(batches)
    if not batches:
        return
    means = class_means(setting, batches)
    with torch.no_grad():
        entering = copies(setting, synthetic, *batches[0].path)
        parts = entering.split(_at_once(setting))
        features = torch.cat([setting.network.embed(part) for part in parts])
    made = HeadInputs.of(features, _labels(setting), setting.encoder.weight)
    total = torch.stack(list(means.values())).sum(dim=0)
    for batch in batches:
        yield _scored(setting, batch, (total - means[batch.class_index]) / len(means), 1.0 / len(means), made)


@dataclass(frozen=True)
class _Means:
    """Mean vectors of parts of a batch, as `Scored` offers them."""

    setting: Setting
    batch: Batch

    def kept(self, mask: Tensor) -> Vectors:
        return (_mean(self.setting, self.batch, mask.double()),)

    def weighted(self, weights: Tensor) -> Vectors:
        return (_mean(self.setting, self.batch, weights),)


def class_means(setting: Setting, batches: Iterable[Batch]) -> dict[int, Tensor]:
    """Mean gradient `[C, F + 1]` of all samples of every class that have a batch."""
    ids: dict[int, list[Tensor]] = {}
    for batch in batches:
        ids.setdefault(batch.class_index, []).append(batch.ids)
    return {c: _inputs(setting, torch.cat(own), c).mean_gradient() for c, own in ids.items()}


def _scored(setting: Setting, batch: Batch, others: Tensor, share: float, made: HeadInputs) -> Scored:
    real, means = _inputs(setting, batch.ids, batch.class_index), _Means(setting, batch)
    if ESTIMATORS[setting.reselect.estimator].by_definition:
        norms = leave_one_out_norms(real, others, share, made)
    else:
        own = real.mean_gradient()
        norms = effect_norms(real, LeftOut(others + share * own, own, share / (len(batch.ids) - 1)), made)
    return Scored(batch.class_index, norms.float().cpu(), means.kept, means.weighted)


def _mean(setting: Setting, batch: Batch, weights: Tensor | None) -> Tensor:
    real = _inputs(setting, batch.ids, batch.class_index)
    return real.mean_gradient(None if weights is None else shares_of(weights, len(batch.ids)))


def _inputs(setting: Setting, ids: Tensor, class_index: int) -> HeadInputs:
    return setting.encoder.real(ids, setting.class_labels(class_index, len(ids)))


def _labels(setting: Setting) -> Tensor:
    """Of all copies of the synthetic images, in the order of `copies`."""
    own = torch.tensor(setting.classes, device=setting.device).repeat_interleave(setting.config.ipc)
    return own.repeat(setting.config.linear.copies)


def _loss(setting: Setting, features: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    made = HeadInputs.of(features, _labels(setting), setting.encoder.weight)
    synthetic = made.mean_gradient()
    return cosine_distance(real, synthetic), made.pull(cosine_cotangent(real, synthetic))


def _at_once(setting: Setting) -> int:
    """Images of one pass through the encoder."""
    return pass_images(setting.network, setting.device) or max(1, PASS_BYTES.on(setting.device) // image_bytes(setting))


def _pulled(setting: Setting, images: Tensor, by_feature: Tensor) -> Tensor:
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        features = setting.network.embed(leaf)
    return torch.autograd.grad(features, leaf, by_feature)[0]


distill = HeadIterations.distill
