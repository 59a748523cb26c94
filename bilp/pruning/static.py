"""Static pruning: which samples of each class survive their score. Pure functions over arrays, no storage.

BiLP, level 1 (Xu et al. 2024, "Distill gold from massive ores"): sort each class by score and drop the share
alpha = 1 - keep at one end. Everything is vectorized over samples and classes, so ImageNet takes well under a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.config.criteria import Dropping
from bilp.errors import ConfigError, DataError
from bilp.seeds import generator

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

SHOWN_CLASSES = 10
RAISE_KEEP = "raise keep, "
LOW_SHARE = {"high": Fraction(0), "low": Fraction(1)}
"""Of what is dropped, the share that the low end loses; with both ends it is a setting."""


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


@dataclass(frozen=True)
class Ranked:
    """Samples by their scores.

    ascending `[N]` are all samples by score, and by_class `[N]` those of each class one after the other, equal scores in order
    of their index; position `[N]` is the rank in its class, from 0, of each of by_class. total `[C]` are counts.
    """

    scores: Floats
    labels: Integers
    classes: Sequence[str]
    ascending: Integers
    by_class: Integers
    position: Integers
    total: Integers

    @property
    def rank_in_class(self) -> Integers:
        """Of each sample `[N]`."""
        found = np.empty(len(self.scores), dtype=np.int64)
        found[self.by_class] = self.position
        return found

    def together(self, per_class: bool) -> tuple[Integers, Integers]:
        """The samples `[N]` by group, ascending within each, and the sizes `[G]` of the groups: the classes, or one group of all."""
        return (self.by_class, self.total) if per_class else (self.ascending, np.array([len(self.scores)]))


def ranked(scores: Floats, labels: Integers, classes: Sequence[str]) -> Ranked:
    """Rank scores `[N]` of samples with labels `[N]`, which are positions in `classes`.

    Raises DataError for scores that are not finite, labels out of range and classes without samples.
    """
    total = _checked_counts(scores, labels, classes)
    # Two stable sorts: ties keep the order of their index, and NumPy sorts small integers in linear time.
    ascending = np.argsort(scores, kind="stable")
    narrow = labels.astype(np.int16 if len(classes) < 2**15 else np.int64)
    by_class = ascending[np.argsort(narrow[ascending], kind="stable")]
    position = np.arange(len(scores)) - np.repeat(np.cumsum(total) - total, total)
    return Ranked(scores, labels, classes, ascending, by_class, position, total)


def cut(samples: Ranked, kept: Mask, minimum_per_class: int, remedy: str = RAISE_KEEP) -> Cut:
    """The outcome of keeping some samples `[N]`; `remedy` says what to do where a class would keep too few.

    Raises ConfigError if fewer than minimum_per_class samples of a class stay.
    """
    kept_per_class = np.bincount(samples.labels[kept], minlength=len(samples.classes))
    if (kept_per_class < minimum_per_class).any():
        raise ConfigError(_too_few(samples.classes, samples.total, kept_per_class, minimum_per_class, remedy))
    values = samples.scores[samples.by_class[kept[samples.by_class]]]
    return Cut(kept, samples.rank_in_class, samples.total, kept_per_class, *_extremes(values, kept_per_class))


def kept_counts(keep: float, counts: Integers) -> Integers:
    """How many of n samples stay, for each n of counts: n less round_half_up((1 - keep) n)."""
    return np.asarray(counts - round_half_up(1 - decimal(keep), counts))


@dataclass(frozen=True)
class Tail:
    """What a cut at the ends of a ranking drops.

    keep is the share that stays, drop the end of the ascending ranking that goes. Of what both ends lose, low_share is low. A band are
    shares of the ranking between which samples stay, in place of keep and drop. floor_per_class None ranks each class by itself;
    a number ranks all together and keeps the so many best-ranked of each class in any case (all of a smaller class).
    """

    keep: float
    drop: Dropping = "high"
    low_share: float = 0.5
    band: tuple[float, float] | None = None
    floor_per_class: int | None = None


def select(
    scores: Floats,
    labels: Integers,
    classes: Sequence[str],
    *,
    keep: float,
    drop: Dropping = "high",
    low_share: float = 0.5,
    band: tuple[float, float] | None = None,
    minimum_per_class: int = 1,
    floor_per_class: int | None = None,
) -> Cut:
    """Cut ranked samples at one end or at both, or to a band: `ranked`, `tail` and `cut` in one.

    Args:
        scores: of the samples, float64 `[N]`.
        labels: of the samples, int64 `[N]`.
        classes: names, whose positions are the labels.
        keep: see `Tail`, like the next three.
        drop: likewise.
        low_share: likewise.
        band: likewise.
        minimum_per_class: fewest samples of a class that may stay.
        floor_per_class: see `Tail`.

    Raises what `ranked`, `tail` and `cut` do.
    """
    samples = ranked(scores, labels, classes)
    ends = Tail(keep, drop, low_share, band, floor_per_class)
    kept = tail(samples, ends)
    return cut(samples, kept, minimum_per_class, remedy(samples, ends, kept, minimum_per_class))


def tail(samples: Ranked, ends: Tail) -> Mask:
    """Which samples `[N]` stay.

    Of n samples ranked together (a class, or everything if floor_per_class is a number) round_half_up((1 - keep) * n) are
    dropped; the product is exact, with keep read as its decimal text. Where both ends are dropped, round_half_up(low_share * dropped)
    of these are low ones. A band keeps the ranks between two such cuts, so that band (0, keep) is what keep with drop "high" keeps, and
    neighboring bands share out a class without gap or overlap. The total that stays is the same with and without a floor.

    Raises ConfigError if more would stay by floor_per_class than by keep, and for a floor where both ends are dropped.
    """
    order, sizes = samples.together(ends.floor_per_class is None)
    first, last = _kept_ranks(sizes, ends)
    if ends.floor_per_class:
        return _with_floor(samples, ends.drop, int(last[0] - first[0]), ends.floor_per_class)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.zeros(len(order), dtype=np.bool_)
    kept[order] = (place >= np.repeat(first, sizes)) & (place < np.repeat(last, sizes))
    return kept


def remedy(samples: Ranked, ends: Tail, kept: Mask, minimum_per_class: int) -> str:
    """What to do where a class keeps fewer than minimum_per_class: for one end the keep with which none would, if there is one."""
    if ends.band is not None:
        return "widen band, "
    per_class = np.bincount(samples.labels[kept], minlength=len(samples.classes))
    if ends.drop == "both" or (per_class >= minimum_per_class).all() or (samples.total < minimum_per_class).any():
        return RAISE_KEEP
    return f"the smallest keep that would do is {_smallest_keep(samples, minimum_per_class, ends)}; "


def _extremes(values: Floats, counts: Integers) -> tuple[Floats, Floats]:
    """First and last of each run in `values`, which holds counts[c] scores of each class, by class and ascending; NaN for none."""
    ends, present = np.cumsum(counts), counts > 0
    lowest, highest = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    lowest[present] = values[(ends - counts)[present]]
    highest[present] = values[ends[present] - 1]
    return lowest, highest


def random_scores(labels: Integers, classes: int, seed: int, stream: str = "prune") -> Floats:
    """Uniform numbers in [0, 1) for labels `[N]`, one stream per class; a cut of them is a random subset, the control."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=classes)
    drawn = [torch.rand(int(n), dtype=torch.float64, generator=generator(seed, stream, c)) for c, n in enumerate(counts)]
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


def _with_floor(samples: Ranked, drop: Dropping, quota: int, floor: int) -> Mask:
    """The `floor` best-ranked samples of each class and the best of the others, `quota` in all."""
    if drop == "both":
        raise ConfigError(f"floor_per_class = {floor} keeps the best-ranked, which are not known where both ends are dropped: remove it")
    from_best = samples.rank_in_class if drop == "high" else samples.total[samples.labels] - 1 - samples.rank_in_class
    ranking = samples.ascending if drop == "high" else samples.ascending[::-1]
    kept: Mask = from_best < floor
    left = quota - int(kept.sum())
    if left < 0:
        raise ConfigError(
            f"floor_per_class = {floor} keeps {kept.sum()} samples, but keep leaves only {quota}: lower floor_per_class or raise keep"
        )
    kept[ranking[~kept[ranking]][:left]] = True
    return kept


def _kept_ranks(n: Integers, ends: Tail) -> tuple[Integers, Integers]:
    """First rank that stays and first that no longer does, for rankings of n samples."""
    if ends.band is not None:
        below, above = (n - round_half_up(1 - decimal(end), n) for end in ends.band)
        return below, above
    dropped = round_half_up(1 - decimal(ends.keep), n)
    low = round_half_up(LOW_SHARE[ends.drop] if ends.drop in LOW_SHARE else decimal(ends.low_share), dropped)
    return low, n - (dropped - low)


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


def _smallest_keep(samples: Ranked, minimum: int, ends: Tail) -> str:
    """The smallest keep, rounded up to three digits, with which every class keeps `minimum` samples at the same end."""
    needed, n = minimum, int(samples.total.min())
    if ends.floor_per_class is not None:  # how far down the common ranking the last class finds its `minimum`-th sample
        ranking = samples.ascending if ends.drop == "high" else samples.ascending[::-1]
        order = np.argsort(samples.labels[ranking], kind="stable")
        needed, n = int(order[np.cumsum(samples.total) - samples.total + minimum - 1].max()) + 1, len(samples.labels)
    # n - round_half_up((1 - keep) n) >= needed  <=>  keep > (needed - 1/2) / n
    bound = Fraction(2 * needed - 1, 2 * n)
    digits = 3
    while bound * 10 ** (digits - 2) < 1:
        digits += 1
    return f"{float(Fraction(int(bound * 10**digits) + 1, 10**digits)):.{digits}f}"


def _too_few(classes: Sequence[str], total: Integers, kept: Integers, minimum: int, remedy: str) -> str:
    """The message for classes of `total` `[C]` samples that keep `kept` `[C]`, fewer than `minimum`; `remedy` says what would help."""
    short = np.flatnonzero(kept < minimum)
    listed = _listed([f"{classes[int(c)]} keeps {kept[c]} of {total[c]}" for c in short])
    small = np.flatnonzero(total < minimum)
    if len(small):
        todo = f"{len(small)} of them have fewer samples in all: lower minimum_per_class to {max(1, total.min())}, or add data"
    else:
        todo = f"{remedy}or lower minimum_per_class"
    return f"{len(short)} of {len(classes)} classes keep fewer than minimum_per_class = {minimum} samples ({listed}): {todo}"


def _listed(items: Sequence[str]) -> str:
    more = f", and {len(items) - SHOWN_CLASSES} more" if len(items) > SHOWN_CLASSES else ""
    return ", ".join(items[:SHOWN_CLASSES]) + more
