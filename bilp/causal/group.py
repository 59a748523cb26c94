"""Class batches that are measured together: how each estimator turns them into norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from bilp.causal.batch import ClassBatch
from bilp.causal.choose import prefers_sketch
from bilp.causal.cotangent import effects_by, exact_differences
from bilp.causal.effect_settings import EffectSettings
from bilp.causal.precision import CHECKED, RANK_AGREEMENT, Precision, order_holds
from bilp.causal.reference.oracle import leave_one_out
from bilp.causal.reference.taylor import first_order_differences, require_curvature
from bilp.causal.sketch import Sketch, promised, sketch
from bilp.causal.synthetic_images import Synthetic
from bilp.causal.vectors import RealVectors, vectors_of_classes
from bilp.config.estimators import ESTIMATORS, EstimatorEntry
from bilp.matching import Matching, Vectors
from bilp.nets import Network

# What a sketch by twice the directions must promise to be tried. More leading ones make it a little better than that.
PROMISE = RANK_AGREEMENT - 0.02


@dataclass(frozen=True)
class Measured:
    """Norms of the effects of a batch, and the mean vector of any part of it. Holds up to a byte budget of vectors."""

    norms: Tensor
    """|ITE_i|, float32 `[B]`, on the CPU."""
    mean_of: Callable[[Tensor], Vectors]
    """Mean vector of the samples where a bool `[B]` is true: the matching's `real_mean` of them, up to rounding.

    No second pass through the network if the vectors of the batch fit the byte budget."""
    weighted_mean: Callable[[Tensor], Vectors]
    """The same with a weight for every sample, float `[B]`, instead of a choice."""


@dataclass(frozen=True)
class Group:
    """Class batches that are measured together."""

    matching: Matching
    network: Network
    batches: Sequence[ClassBatch]
    settings: EffectSettings

    @property
    def _estimator(self) -> EstimatorEntry:
        return ESTIMATORS[self.settings.estimator]

    def measured(self) -> list[Measured]:
        """Norms and means of every batch."""
        if self.settings.precision == "float32":
            return self._measured()
        safe = self._safe()
        return self._by_parts(
            [
                ([c for c, held in enumerate(safe) if held], self.settings),
                ([c for c, held in enumerate(safe) if not held], replace(self.settings, precision="float32")),
            ]
        )

    def effects(self) -> Iterator[Tensor]:
        """The effects by an estimator that forms them, chunks `[k, K, M, C, H, W]`."""
        if self._estimator.by_definition:
            (batch,) = self.batches
            return (effect[None, None] for effect in self._left_out(batch))
        return self._exactly(self._side())[1]

    def _measured(self) -> list[Measured]:
        if self._estimator.by_definition:
            return [self._by_definition(batch) for batch in self.batches]
        side = self._side()
        if self._estimator.sketches and (not self._estimator.exact_where_better or self._sketch_pays(side, self.settings.directions)):
            return self._sketched(side)
        vectors, found = self._exactly(side)
        return _measured(_norms(found, vectors), vectors)

    def _sketched(self, side: Synthetic) -> list[Measured]:
        """By the sketch; with `auto` by twice the directions, if that promises enough, for the classes that it orders too
        roughly, and exactly for those that remain."""
        settings = self.settings
        vectors = self._vectors(side)
        found = self._sketches(side, vectors, range(len(vectors)), settings.directions)
        norms = {c: estimate.norms for c, estimate in found.items()}
        if self._estimator.exact_where_better:
            if self._sketch_pays(side, 2 * settings.directions):
                again = [c for c, estimate in found.items() if _rough(estimate) and promised(estimate.agreement, 2) >= PROMISE]
                found |= self._sketches(side, vectors, again, 2 * settings.directions)
                norms |= {c: found[c].norms for c in again}
            rough = [c for c, estimate in found.items() if _rough(estimate)]
            norms |= zip(rough, self._exact_norms(side, vectors, rough), strict=True)
        return _measured([norms[c] for c in range(len(vectors))], vectors)

    def _sketches(self, side: Synthetic, vectors: Sequence[RealVectors], which: Sequence[int], directions: int) -> dict[int, Sketch]:
        """The sketch of some classes, by their places."""
        if not which:
            return {}
        own, here = [vectors[c] for c in which], self._part(side, which)
        found = sketch(self.matching, own, here, directions, self.settings.seed, self.settings.byte_budget)
        return dict(zip(which, found, strict=True))

    def _exact_norms(self, side: Synthetic, vectors: Sequence[RealVectors], which: Sequence[int]) -> list[Tensor]:
        if not which:
            return []
        own = [vectors[c] for c in which]
        return _norms(effects_by(exact_differences, self.matching, own, self._part(side, which)), own)

    def _exactly(self, side: Synthetic) -> tuple[list[RealVectors], Iterator[Tensor]]:
        """The vectors of every class, and the effects."""
        differences = exact_differences
        if self._estimator.first_order:
            require_curvature(self.matching, side.psi_of(0))
            differences = first_order_differences
        vectors = self._vectors(side, side.pull.lanes)
        return vectors, effects_by(differences, self.matching, vectors, side)

    def _vectors(self, side: Synthetic, lanes: int = 1) -> list[RealVectors]:
        pairs = [batch.real for batch in self.batches]
        affordable = self.settings.byte_budget // max(side.vector_bytes, 1)
        return vectors_of_classes(self.matching, self.network, pairs, affordable, lanes, self.settings.precision)

    def _by_definition(self, batch: ClassBatch) -> Measured:
        norms = torch.stack([torch.linalg.vector_norm(effect) for effect in self._left_out(batch)])
        nothing_held = RealVectors(self.matching, self.network, batch.real, affordable=0)
        return Measured(norms.float().cpu(), nothing_held.mean_of, nothing_held.weighted_mean)

    def _left_out(self, batch: ClassBatch) -> Iterator[Tensor]:
        return leave_one_out(self.matching, self.network, batch.real, batch.synthetic, batch.augment)

    def _side(self) -> Synthetic:
        return Synthetic(self.matching, self.network, self.batches, self.settings.byte_budget)

    def _part(self, side: Synthetic, which: Sequence[int]) -> Synthetic:
        """The synthetic images of some classes: those of `side`, if they are all."""
        if len(which) == side.classes:
            return side
        return Synthetic(self.matching, self.network, [self.batches[c] for c in which], self.settings.byte_budget)

    def _sketch_pays(self, side: Synthetic, directions: int) -> bool:
        samples = max(len(batch.real[0]) for batch in self.batches)
        images = len(self.batches[0].synthetic[0])
        # Directions that have to move all images at once would rank too badly.
        return prefers_sketch(samples, images, side.stored[0].numel(), side.values, directions) and not side.mixes

    def _safe(self) -> list[bool]:
        """For every class, whether bfloat16 leaves the order of its first samples as it is, and has more to measure than these."""
        if all(len(batch.real[0]) <= CHECKED for batch in self.batches):
            return [False] * len(self.batches)
        few = [replace(batch, real=(batch.real[0][:CHECKED], batch.real[1][:CHECKED])) for batch in self.batches]
        both = [replace(self, batches=few, settings=replace(self.settings, precision=precision)) for precision in get_args(Precision)]
        tried = zip(*(group._measured() for group in both), strict=True)
        return [
            len(batch.real[0]) > CHECKED and order_holds(one.norms, other.norms)
            for batch, (one, other) in zip(self.batches, tried, strict=True)
        ]

    def _by_parts(self, parts: Sequence[tuple[Sequence[int], EffectSettings]]) -> list[Measured]:
        """Each part of the classes, named by their places, by its own settings; in the order of the places."""
        found: dict[int, Measured] = {}
        for places, settings in parts:
            if places:
                part = replace(self, batches=[self.batches[c] for c in places], settings=settings)
                found.update(zip(places, part._measured(), strict=True))
        return [found[c] for c in sorted(found)]


def _rough(estimate: Sketch) -> bool:
    return estimate.agreement < RANK_AGREEMENT


def _norms(found: Iterable[Tensor], vectors: Sequence[RealVectors]) -> list[Tensor]:
    """The norm of every sample of each class, from effects `[k, K, M, C, H, W]`."""
    by_class = torch.cat([torch.linalg.vector_norm(effect.flatten(2), dim=2) for effect in found])
    return [by_class[: len(own), c] for c, own in enumerate(vectors)]


def _measured(norms: Sequence[Tensor], vectors: Sequence[RealVectors]) -> list[Measured]:
    """Of every class; all norms leave the device at once."""
    here = torch.cat(list(norms)).float().cpu().split([len(own) for own in norms])
    return [Measured(found, own.mean_of, own.weighted_mean) for found, own in zip(here, vectors, strict=True)]
