"""Causal effects of real samples through the statistics of their class, exactly: each is left out of the whole class.

The teacher is frozen, so that vectors of real samples are known from one pass (`bilp.distill.step.class_statistics`), and only the
synthetic images pass it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bilp.causal.about_mean import AboutMean, MeanVector
from bilp.causal.effect_settings import BYTE_BUDGET
from bilp.causal.reference.oracle import meta_gradient
from bilp.config.estimators import ESTIMATORS
from bilp.config.reselect import RESELECT_SCORES
from bilp.distill.step.batch import Batch
from bilp.distill.step.held_out_loss import halves, held_out_directions
from bilp.distill.step.inversion_batches import InversionBatch, batches_of
from bilp.distill.step.inversion_views import view_of
from bilp.distill.step.sample_scores import Scored
from bilp.distill.step.setting import Setting
from bilp.images.view import View
from bilp.matching import Vectors


def measure(setting: Setting, synthetic: Tensor, batches: Iterable[Batch]) -> Iterator[Scored]:
    """Norms of causal effects, or their components along what held-out samples ask for, of batches of real samples in order.

    Args:
        setting: what stays fixed; its network is the teacher.
        synthetic: all synthetic images `[classes * ipc, C, H, W]`.
        batches: samples to measure. All of a class see the view that the path of its first batch draws.
    """
    of_class: _OfClass | None = None
    signed = _Signed(setting, synthetic) if RESELECT_SCORES[setting.reselect.score].signed else None
    for batch in batches:
        if of_class is None or of_class.class_index != batch.class_index:
            of_class = _OfClass(setting, synthetic, batch.class_index, batch.path)
        if signed is not None:
            values = signed.values(of_class, batch)
        elif ESTIMATORS[setting.reselect.estimator].by_definition:
            values = of_class.norms_by_definition(batch.ids)
        else:
            values = of_class.norms(batch.ids)
        means = _Means(setting, batch)
        yield Scored(batch.class_index, values.float().cpu(), means.kept, means.weighted)


@dataclass(frozen=True)
class _Means:
    """Mean vectors of parts of a batch, as `Scored` offers them."""

    setting: Setting
    batch: Batch

    def kept(self, mask: Tensor) -> Vectors:
        return self.setting.class_statistics.mean(self.batch.class_index, self.batch.ids[mask])

    def weighted(self, weights: Tensor) -> Vectors:
        return self.setting.class_statistics.mean(self.batch.class_index, self.batch.ids, weights)


class _OfClass:
    """What the samples of a class have an effect on: the batches of its synthetic images, each under one view."""

    def __init__(self, setting: Setting, synthetic: Tensor, class_index: int, path: tuple[str | int, ...]) -> None:
        self._setting, self._synthetic, self.class_index, self._path = setting, synthetic.detach(), class_index, path
        self.batches = [batch for batch in batches_of(setting) if batch.class_index == class_index]
        self._whole = setting.pool.by_class[class_index]

    @cached_property
    def sides(self) -> list[AboutMean]:
        """The effects on each batch."""
        setting, count = self._setting, len(self._whole)
        mean = MeanVector(setting.class_statistics.mean(self.class_index, self._whole), count)
        measured = min(count, setting.reselect.candidates_per_class or count)
        parts = (setting.matching, setting.network)
        budget = BYTE_BUDGET.on(setting.device)
        return [AboutMean(*parts, self._shown(batch), self._view(batch), mean, measured, budget) for batch in self.batches]

    def norms(self, ids: Tensor) -> Tensor:
        """`[n]`."""
        chunks = self._setting.class_statistics.chunks(self.class_index, ids)
        squares = [torch.stack([side.norms(phi).square() for side in self.sides]).sum(dim=0) for phi in chunks]
        return torch.cat(squares).sqrt()

    def along(self, ids: Tensor, pushed: list[list[Tensor]]) -> Tensor:
        """`[d, n]`, of directions that `pushed` has for each batch."""
        chunks = self._setting.class_statistics.chunks(self.class_index, ids)
        found = [torch.stack([side.along(phi, own) for side, own in zip(self.sides, pushed, strict=True)]).sum(dim=0) for phi in chunks]
        return torch.cat(found, dim=1)

    def norms_by_definition(self, ids: Tensor) -> Tensor:
        """The same with the statistics of the class and the gradient computed once more without each sample."""
        whole = self._gradient(self._whole)
        return torch.stack([torch.linalg.vector_norm(whole - self._gradient(self._whole[self._whole != i])) for i in ids])

    def _gradient(self, ids: Tensor) -> Tensor:
        """Of the distances from the statistics of these samples, in one row."""
        setting, mean = self._setting, self._setting.class_statistics.mean(self.class_index, ids)
        parts = (setting.matching, setting.network, mean)
        return torch.cat([meta_gradient(*parts, self._shown(batch), self._view(batch)).flatten() for batch in self.batches])

    def _shown(self, batch: InversionBatch) -> tuple[Tensor, Tensor]:
        return self._synthetic[batch.rows], self._setting.class_labels(self.class_index, len(batch.rows))

    def _view(self, batch: InversionBatch) -> View:
        return view_of(self._setting, batch, self._setting.config.iterations, "reselect_view", *self._path)


class _Signed:
    """Components along what the samples of the other half ask for; directions are drawn by the path of the first batch."""

    def __init__(self, setting: Setting, synthetic: Tensor) -> None:
        self._setting, self._synthetic, self._half_of = setting, synthetic, halves(setting)
        self._directions: Tensor | None = None
        self._pushed: tuple[_OfClass | None, list[list[Tensor]]] = (None, [])

    def values(self, of_class: _OfClass, batch: Batch) -> Tensor:
        """`[n]`."""
        if self._directions is None:
            self._directions = held_out_directions(self._setting, self._synthetic, self._half_of, *batch.path)
        if self._pushed[0] is not of_class:
            pairs = zip(of_class.sides, of_class.batches, strict=True)
            self._pushed = (of_class, [side.pushed(self._directions[:, own.rows]) for side, own in pairs])
        own = self._half_of[batch.ids].unsqueeze(0)
        return of_class.along(batch.ids, self._pushed[1]).cpu().gather(0, own).squeeze(0)
