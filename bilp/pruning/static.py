"""Static pruning: which samples of each class survive their score. Pure functions over arrays, no storage.

BiLP, level 1 (Xu et al. 2024, "Distill gold from massive ores"): sort each class by score and drop the share
alpha = 1 - keep at one end. Everything is vectorized over samples and classes, so ImageNet takes well under a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.errors import ConfigError, DataError
from bilp.seeds import generator

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

SHOWN_CLASSES = 10


@dataclass(frozen=True)
class Cut:
    """Outcome of `select`.

    kept `[N]` tells which samples stay. rank_in_class `[N]` is the ascending position of a sample's score in its class,
    from 0, equal scores in order of their index. total_per_class and kept_per_class `[C]` are counts. lowest_kept and
    highest_kept `[C]` are the smallest and the largest score that stay in each class: its thresholds.
    """

    kept: Mask
    rank_in_class: Integers
    total_per_class: Integers
    kept_per_class: Integers
    lowest_kept: Floats
    highest_kept: Floats


def select(
    scores: Floats,
    labels: Integers,
    classes: Sequence[str],
    *,
    keep: float,
    drop: Literal["high", "low"] = "high",
    band: tuple[float, float] | None = None,
    minimum_per_class: int = 1,
    floor_per_class: int | None = None,
) -> Cut:
    """Cut ranked samples at one end, or to a band.

    Of n samples ranked together (a class, or everything if floor_per_class is a number) round_half_up((1 - keep) * n) are
    dropped at the end named by `drop`; the product is exact, with keep read as its decimal text. A band keeps the
    ranks between two such cuts instead, so that band (0, keep) is what keep with drop "high" keeps, and neighboring
    bands share out a class without gap or overlap. The total that stays is the same with and without a floor.

    Args:
        scores: of the samples, float64 `[N]`.
        labels: of the samples, int64 `[N]`.
        classes: names, whose positions are the labels.
        keep: share that stays.
        drop: end of the ascending ranking that goes.
        band: shares of the ranking between which samples stay, in place of keep and drop.
        minimum_per_class: fewest samples of a class that may stay.
        floor_per_class: None ranks each class by itself; a number ranks all together and keeps the so many best-ranked of each class
            in any case (all of a smaller class), and the best of the rest.

    Raises DataError for scores that are not finite, labels out of range and classes without samples, and ConfigError
    if fewer than minimum_per_class samples of a class would stay, or more by floor_per_class than by keep.
    """
    total = _checked_counts(scores, labels, classes)
    # Two stable sorts: ties keep the order of their index, and NumPy sorts small integers in linear time.
    ascending = np.argsort(scores, kind="stable")
    narrow = labels.astype(np.int16 if len(classes) < 2**15 else np.int64)
    by_class = ascending[np.argsort(narrow[ascending], kind="stable")]
    position = np.arange(len(scores)) - np.repeat(np.cumsum(total) - total, total)
    rank_in_class = np.empty(len(scores), dtype=np.int64)
    rank_in_class[by_class] = position

    kept = np.zeros(len(scores), dtype=np.bool_)
    if floor_per_class is None:
        first, last = _kept_ranks(total, keep, drop, band)
        kept[by_class] = (position >= np.repeat(first, total)) & (position < np.repeat(last, total))
    else:
        first, last = _kept_ranks(np.array([len(scores)]), keep, drop, band)
        if floor_per_class:
            from_best = rank_in_class if drop == "high" else total[labels] - 1 - rank_in_class
            best_first = ascending if drop == "high" else ascending[::-1]
            kept = _with_floor(best_first, from_best < floor_per_class, int(last[0] - first[0]), floor_per_class)
        else:
            kept[ascending[int(first[0]) : int(last[0])]] = True
    kept_per_class = np.bincount(labels[kept], minlength=len(classes))
    if (kept_per_class < minimum_per_class).any():
        needed = None
        if band is None and (total >= minimum_per_class).all():
            needed = _smallest_keep(ascending, labels, total, minimum_per_class, drop, floor_per_class is None)
        raise ConfigError(_too_few(classes, total, kept_per_class, minimum_per_class, needed))
    return Cut(kept, rank_in_class, total, kept_per_class, *_extremes(scores[by_class[kept[by_class]]], kept_per_class))


def _extremes(values: Floats, counts: Integers) -> tuple[Floats, Floats]:
    """First and last of each run in `values`, which holds counts[c] scores of each class, by class and ascending; NaN for none."""
    ends, present = np.cumsum(counts), counts > 0
    lowest, highest = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    lowest[present] = values[(ends - counts)[present]]
    highest[present] = values[ends[present] - 1]
    return lowest, highest


def random_scores(labels: Integers, classes: int, seed: int) -> Floats:
    """Uniform numbers in [0, 1) for labels `[N]`, one stream per class; a cut of them is a random subset, the control."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=classes)
    drawn = [torch.rand(int(n), dtype=torch.float64, generator=generator(seed, "prune", c)) for c, n in enumerate(counts)]
    scores = np.empty(len(labels), dtype=np.float64)
    scores[order] = torch.cat(drawn).numpy() if drawn else 0.0
    return scores


def round_half_up(share: Fraction, counts: Integers) -> Integers:
    """round(share * n) for each n of counts, halves upwards, in exact integer arithmetic."""
    numerator, denominator = share.numerator, share.denominator
    whole = counts.astype(object)  # Python integers: a long decimal such as 0.123456789 must not overflow
    result: Integers = ((2 * numerator * whole + denominator) // (2 * denominator)).astype(np.int64)
    return result


def decimal(value: float) -> Fraction:
    """The number that was written down: 0.1 is one tenth, not the nearest binary fraction."""
    return Fraction(repr(float(value)))


def _with_floor(ranking: Integers, reserved: Mask, quota: int, floor: int) -> Mask:
    """The reserved samples and the best of the others, `quota` in all; `ranking` `[N]` starts with the best."""
    left = quota - int(reserved.sum())
    if left < 0:
        raise ConfigError(
            f"floor_per_class = {floor} keeps {reserved.sum()} samples, but keep leaves only {quota}: lower floor_per_class or raise keep"
        )
    kept = reserved.copy()
    kept[ranking[~reserved[ranking]][:left]] = True
    return kept


def _kept_ranks(n: Integers, keep: float, drop: str, band: tuple[float, float] | None) -> tuple[Integers, Integers]:
    """First rank that stays and first that no longer does, for rankings of n samples."""
    if band is not None:
        return n - round_half_up(1 - decimal(band[0]), n), n - round_half_up(1 - decimal(band[1]), n)
    dropped = round_half_up(1 - decimal(keep), n)
    nothing = np.zeros_like(n)
    return (nothing, n - dropped) if drop == "high" else (dropped, n)


def _checked_counts(scores: Floats, labels: Integers, classes: Sequence[str]) -> Integers:
    """Samples per class, or DataError."""
    if scores.shape != labels.shape:
        raise DataError(f"{len(scores)} scores for {len(labels)} labels: every sample needs one score")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(scores)} scores are not finite, the first is {scores[bad[0]]} of sample {bad[0]}: "
            "such samples have no rank; score them again"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise DataError(f"labels reach from {labels.min()} to {labels.max()}, but there are {len(classes)} classes")
    counts: Integers = np.bincount(labels, minlength=len(classes))
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        raise DataError(
            f"{len(empty)} of {len(classes)} classes have no samples ({_listed([classes[int(c)] for c in empty])}): "
            "remove them from the data set"
        )
    return counts


def _smallest_keep(ascending: Integers, labels: Integers, total: Integers, minimum: int, drop: str, per_class: bool) -> str:
    """The smallest keep, rounded up to three digits, with which every class keeps enough samples.

    Args:
        ascending: samples by score, int64 `[N]`.
        labels: of the samples, int64 `[N]`.
        total: samples of each class, int64 `[C]`.
        minimum: samples that are enough.
        drop: end of the ranking that goes.
        per_class: whether each class is ranked by itself.
    """
    needed, n = minimum, int(total.min())
    if not per_class:  # how far down the common ranking the last class finds its `minimum`-th sample
        ranking = ascending if drop == "high" else ascending[::-1]
        order = np.argsort(labels[ranking], kind="stable")
        needed, n = int(order[np.cumsum(total) - total + minimum - 1].max()) + 1, len(labels)
    # n - round_half_up((1 - keep) n) >= needed  <=>  keep > (needed - 1/2) / n
    bound = Fraction(2 * needed - 1, 2 * n)
    digits = 3
    while bound * 10 ** (digits - 2) < 1:
        digits += 1
    return f"{float(Fraction(int(bound * 10**digits) + 1, 10**digits)):.{digits}f}"


def _too_few(classes: Sequence[str], total: Integers, kept: Integers, minimum: int, needed: str | None) -> str:
    """The message for classes of `total` `[C]` samples that keep `kept` `[C]`, fewer than `minimum`; `needed` is the keep that would do."""
    short = np.flatnonzero(kept < minimum)
    listed = _listed([f"{classes[int(c)]} keeps {kept[c]} of {total[c]}" for c in short])
    small = np.flatnonzero(total < minimum)
    if len(small):
        remedy = f"{len(small)} of them have fewer samples in all: lower minimum_per_class to {max(1, total.min())}, or add data"
    elif needed is None:
        remedy = "widen band, or lower minimum_per_class"
    else:
        remedy = f"the smallest keep that would do is {needed}; or lower minimum_per_class"
    return f"{len(short)} of {len(classes)} classes keep fewer than minimum_per_class = {minimum} samples ({listed}): {remedy}"


def _listed(items: Sequence[str]) -> str:
    more = f", and {len(items) - SHOWN_CLASSES} more" if len(items) > SHOWN_CLASSES else ""
    return ", ".join(items[:SHOWN_CLASSES]) + more
