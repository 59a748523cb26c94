"""The norm of the causal effect of every sample of class batches, by any estimator, and what their mean vectors need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from bilp.causal.batch import Augment, ClassBatch, Pair, class_groups, unchanged
from bilp.causal.choose import prefers_sketch
from bilp.causal.cotangent import cotangent_differences, effects_by
from bilp.causal.oracle import leave_one_out
from bilp.causal.precision import CHECKED, RANK_AGREEMENT, Precision, order_holds
from bilp.causal.sketch import sketch
from bilp.causal.synthetic import Synthetic
from bilp.causal.taylor import first_order_differences, require_curvature
from bilp.causal.vectors import RealVectors, vectors_of_classes
from bilp.errors import ConfigError
from bilp.matching import Matching, Vectors
from bilp.nets import Network

Estimator = Literal["auto", "oracle", "cotangent", "taylor", "sketch"]
BYTE_BUDGET = 512 * 2**20
DIRECTIONS = 96


@dataclass(frozen=True)
class _Settings:
    """How effects are measured: the options of `measure` by the same names."""

    estimator: Estimator
    byte_budget: int
    directions: int = DIRECTIONS
    seed: int = 0
    precision: Precision = "float32"


@dataclass(frozen=True)
class Measured:
    """Norms of the effects of a batch, and the mean vector of any part of it. Holds up to a byte budget of vectors."""

    norms: Tensor
    """|ITE_i|, float32 `[B]`."""
    mean_of: Callable[[Tensor], Vectors]
    """Mean vector of the samples where a bool `[B]` is true: the matching's `real_mean` of them, up to rounding.

    No second pass through the network if the vectors of the batch fit the byte budget."""


def measure(
    matching: Matching,
    network: Network,
    real: Pair,
    synthetic: Pair,
    estimator: Estimator = "auto",
    *,
    augment: Augment = unchanged,
    byte_budget: int = BYTE_BUDGET,
    directions: int = DIRECTIONS,
    seed: int = 0,
    precision: Precision = "float32",
) -> Measured:
    """`ite` of (images, labels) pairs, together with the means of parts of the batch.

    The vectors are those of this network: form the mean before the network changes, and let go of the result afterwards.
    """
    batch = ClassBatch(real, synthetic, augment)
    settings = _Settings(estimator, byte_budget, directions, seed, precision)
    (found,) = _Group(matching, network, [_checked(batch, settings)], settings).measured()
    return found


def measure_classes(
    matching: Matching,
    network: Network,
    batches: Iterable[ClassBatch],
    estimator: Estimator = "auto",
    *,
    byte_budget: int = BYTE_BUDGET,
    directions: int = DIRECTIONS,
    seed: int = 0,
    precision: Precision = "float32",
) -> Iterator[Measured]:
    """`measure` of every batch, in order; classes share the passes through the network as far as the budget allows.

    The budget bounds what all classes that are measured together hold. Batches are taken one group at a time, and let go
    of when the next group's turn comes.
    """
    settings = _Settings(estimator, byte_budget, directions, seed, precision)
    checked = (_checked(batch, settings) for batch in batches)
    for group in class_groups(matching, network, checked, byte_budget):
        yield from _Group(matching, network, group, settings).measured()


@dataclass(frozen=True)
class _Group:
    """Class batches that are measured together."""

    matching: Matching
    network: Network
    batches: Sequence[ClassBatch]
    settings: _Settings

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
        if self.settings.estimator == "oracle":
            (batch,) = self.batches
            return (effect[None, None] for effect in self._left_out(batch))
        return self._exactly(self._side())[1]

    def _measured(self) -> list[Measured]:
        if self.settings.estimator == "oracle":
            return [self._by_definition(batch) for batch in self.batches]
        side = self._side()
        if self.settings.estimator == "sketch" or (self.settings.estimator == "auto" and self._sketch_pays(side, self.settings.directions)):
            return self._sketched(side)
        vectors, found = self._exactly(side)
        return _measured(_norms(found, vectors), vectors)

    def _sketched(self, side: Synthetic) -> list[Measured]:
        """By the sketch; with `auto` by more directions, and then exactly, for the classes that it orders too roughly."""
        settings, network = self.settings, self.network
        pairs = [batch.real for batch in self.batches]
        vectors = vectors_of_classes(self.matching, network, pairs, side.psi_of(0), settings.byte_budget, precision=settings.precision)
        norms: list[Tensor] = [torch.empty(0)] * len(vectors)
        left = list(range(len(vectors)))
        for directions in (settings.directions, 2 * settings.directions):
            if directions > settings.directions and not self._sketch_pays(side, directions):
                break
            here, own = self._part(side, left), [vectors[c] for c in left]
            estimated = sketch(self.matching, own, here, directions, settings.seed, settings.byte_budget)
            for c, estimate in zip(left, estimated, strict=True):
                norms[c] = estimate.norms
            if settings.estimator == "sketch":
                break
            left = [c for c, estimate in zip(left, estimated, strict=True) if estimate.agreement < RANK_AGREEMENT]
            if not left:
                break
        if settings.estimator == "auto" and left:
            own = [vectors[c] for c in left]
            exact = _norms(effects_by(cotangent_differences, self.matching, own, self._part(side, left)), own)
            for c, found in zip(left, exact, strict=True):
                norms[c] = found
        return _measured(norms, vectors)

    def _exactly(self, side: Synthetic) -> tuple[list[RealVectors], Iterator[Tensor]]:
        """The vectors of every class, and the effects."""
        settings, differences = self.settings, cotangent_differences
        if settings.estimator == "taylor":
            require_curvature(self.matching, side.psi_of(0))
            differences = first_order_differences
        pairs = [batch.real for batch in self.batches]
        lanes, precision = side.pull.lanes, settings.precision
        vectors = vectors_of_classes(self.matching, self.network, pairs, side.psi_of(0), settings.byte_budget, lanes, precision)
        return vectors, effects_by(differences, self.matching, vectors, side)

    def _by_definition(self, batch: ClassBatch) -> Measured:
        norms = torch.stack([torch.linalg.vector_norm(effect) for effect in self._left_out(batch)])
        nothing_held = RealVectors(self.matching, self.network, batch.real, self._side().psi_of(0), byte_budget=0)
        return Measured(norms.float(), nothing_held.mean_of)

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

    def _by_parts(self, parts: Sequence[tuple[Sequence[int], _Settings]]) -> list[Measured]:
        """Each part of the classes, named by their places, by its own settings; in the order of the places."""
        found: dict[int, Measured] = {}
        for places, settings in parts:
            if places:
                part = replace(self, batches=[self.batches[c] for c in places], settings=settings)
                found.update(zip(places, part._measured(), strict=True))
        return [found[c] for c in sorted(found)]


def _norms(found: Iterable[Tensor], vectors: Sequence[RealVectors]) -> list[Tensor]:
    """The norm of every sample of each class, from effects `[k, K, M, C, H, W]`."""
    by_class = torch.cat([torch.linalg.vector_norm(effect.flatten(2), dim=2) for effect in found])
    return [by_class[: len(own), c] for c, own in enumerate(vectors)]


def _measured(norms: Sequence[Tensor], vectors: Sequence[RealVectors]) -> list[Measured]:
    return [Measured(found.float(), own.mean_of) for found, own in zip(norms, vectors, strict=True)]


def ite(
    matching: Matching,
    network: Network,
    real: Tensor,
    real_labels: Tensor,
    synthetic: Tensor,
    synthetic_labels: Tensor,
    estimator: Estimator = "auto",
    *,
    augment: Augment = unchanged,
    byte_budget: int = BYTE_BUDGET,
    directions: int = DIRECTIONS,
    seed: int = 0,
    precision: Precision = "float32",
) -> Tensor:
    """Norms |ITE_i| of the individual treatment effect of every real sample, float32 `[B]`, detached.

    `real` `[B, C, H, W]` are samples of one class as they enter the network, already augmented; `synthetic`
    `[M, C, H, W]` are the stored synthetic images of the class, to which `augment` is applied inside. With G the
    gradient of the distance by the stored images, ITE_i = G(all) - G(all but i).

    Estimators: oracle leaves samples out one by one; cotangent is exact without doing so; taylor is its first order;
    sketch estimates the norms from about `directions` random and leading directions, drawn from `seed`; auto takes
    cotangent, or sketch where that is clearly cheaper (from about five synthetic images on) and orders the samples as
    the exact norms would, with a rank correlation of at least 0.96 by its own
    account, if need be after a second try with twice the directions. `byte_budget` bounds the
    per-sample vectors that are held at once, and separately what the synthetic images need (their graph, or the
    directions' products); a single sample or direction may need more. A sample whose vector equals the mean has effect 0.
    With `precision` bfloat16 the real samples pass the network in short numbers, unless the first CHECKED of them would
    then be ordered differently. Raises ConfigError for a single real sample, if batch norm couples the samples, if taylor
    cannot see any effect, or for the definition (oracle) in bfloat16.
    """
    pairs = (real, real_labels), (synthetic, synthetic_labels)
    measured = measure(
        matching,
        network,
        *pairs,
        estimator,
        augment=augment,
        byte_budget=byte_budget,
        directions=directions,
        seed=seed,
        precision=precision,
    )
    return measured.norms


def effects(
    matching: Matching,
    network: Network,
    real: Pair,
    synthetic: Pair,
    estimator: Estimator = "auto",
    *,
    augment: Augment = unchanged,
    byte_budget: int = BYTE_BUDGET,
) -> Iterator[Tensor]:
    """The effects themselves, chunks `[k, M, C, H, W]` that together hold all B real samples in order; detached.

    `real` and `synthetic` are (images, labels); everything else as for `ite`, but auto is always the exact form, and
    sketch, which knows norms only, raises ConfigError.
    """
    settings = _Settings(estimator, byte_budget)
    batch = _checked(ClassBatch(real, synthetic, augment), settings)
    if estimator == "sketch":
        raise ConfigError("estimator sketch gives norms, not the effects themselves: use cotangent")
    return (chunk.squeeze(1) for chunk in _Group(matching, network, [batch], settings).effects())


def _checked(batch: ClassBatch, settings: _Settings) -> ClassBatch:
    """The batch, if there is an effect to measure and a way to do it; otherwise raises ConfigError."""
    real, synthetic = batch.real, batch.synthetic
    estimator, precision = settings.estimator, settings.precision
    if len(real[0]) < 2:
        raise ConfigError(
            f"the causal effect compares a batch with and without a sample, so it needs at least 2 real samples, not {len(real[0])}: "
            "draw more, or keep more candidates per class"
        )
    if len(synthetic[0]) == 0:
        raise ConfigError("there is no synthetic image on which real samples could have an effect: set ipc to 1 or more")
    if estimator not in get_args(Estimator):
        raise ConfigError(f"unknown estimator {estimator!r}: use one of {', '.join(get_args(Estimator))}")
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision {precision!r}: use one of {', '.join(get_args(Precision))}")
    if estimator == "oracle" and precision != "float32":
        raise ConfigError("estimator oracle is the definition that others are measured by, in float32: set precision to float32")
    return batch
