"""Mixtures of two normal distributions of one variable, one for each group of samples, by expectation maximization.

Groups are fitted side by side: samples lie group by group, and sums over groups are reductions over slices. A group that has
converged takes no further part, so that 1,000 groups of 1,300 samples take seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

STEPS = 200
"""Most steps of expectation maximization."""
TOLERANCE = 1e-6
"""A group has converged when its mean log likelihood per sample grows by less."""
RIDGE = 1e-6
"""Added to the variances of components, in units of the group's own, so that none collapses onto equal values."""
BORROWED = 50.0
"""Samples that each group borrows from a common mixture: ten for each of its parameters."""
STARTS = ((0.25, 0.75), (0.4, 0.9), (0.1, 0.6))
"""Quantiles of a group that its two means begin at: halves, a small high component, and a small low one."""


@dataclass(frozen=True)
class Mixture:
    """Two components for each of G groups, low and high by their means: arrays `[2, G]`.

    `evidence` `[G]` is by how much the Bayesian information criterion prefers two components to one. Groups whose values
    are all equal have two equal components of variance zero, and an evidence of minus infinity.
    """

    weights: Floats
    means: Floats
    stds: Floats
    evidence: Floats

    def repeated(self, groups: int) -> Mixture:
        """The mixture of one group for each of so many."""
        weights, means, stds = (np.repeat(part, groups, axis=1) for part in (self.weights, self.means, self.stds))
        return Mixture(weights, means, stds, np.repeat(self.evidence, groups))

    def separation(self) -> Floats:
        """Ashman's D `[G]`: sqrt 2 times the distance of the means, over the root of the sum of the variances (Ashman et al. 1994)."""
        spread = np.sqrt((self.stds**2).sum(axis=0))
        distance = np.sqrt(2.0) * (self.means[1] - self.means[0])
        return np.asarray(np.divide(distance, spread, out=np.zeros_like(distance), where=spread > 0))

    def thresholds(self) -> Floats:
        """Where between the means `[G]` both components are equally probable: below, the low one is the more probable.

        Infinite where the low one is up to the mean of the high one, and minus infinity where the high one is from the mean
        of the low one on. Between the means the log ratio of both falls, so that halving finds its only zero.
        """
        lower, upper = self.means.copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            never, always = self._log_ratio(lower) <= 0, self._log_ratio(upper) >= 0
            for _ in range(100):
                middle = (lower + upper) / 2
                low = self._log_ratio(middle) > 0
                lower, upper = np.where(low, middle, lower), np.where(low, upper, middle)
        found: Floats = np.where(always, np.inf, np.where(never, -np.inf, (lower + upper) / 2))
        found[~(self.stds > 0).all(axis=0)] = np.inf
        return found

    def probably_low(self, values: Floats, counts: Integers) -> Mask:
        """Whether the low component is the more probable one of each of `values` `[N]`, of which group g has the next counts[g].

        Of a group whose values are all equal every one is.
        """
        group = np.repeat(np.arange(len(counts)), counts)
        parts = Mixture(self.weights[:, group], self.means[:, group], self.stds[:, group], self.evidence[group])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((parts._log_ratio(values) > 0) | ~(parts.stds > 0).all(axis=0))

    def _log_ratio(self, x: Floats) -> Floats:
        """log of w_low N(x; low) over w_high N(x; high), for x `[G]`."""
        low, high = np.log(self.weights) - np.log(self.stds) - (x - self.means) ** 2 / (2 * self.stds**2)
        return np.asarray(low - high)


def fit(values: Floats, counts: Integers) -> Mixture:
    """The mixtures of G groups, of which group g has the next counts[g] of `values` `[N]`; each has at least one.

    Everything is computed of values that are standardized within their group, and the likeliest end of several STARTS counts, so
    that the result is the same every time and follows shifts and scales of the values.
    """
    starts = np.cumsum(counts) - counts
    mean = np.add.reduceat(values, starts) / counts
    std = np.sqrt(np.add.reduceat((values - np.repeat(mean, counts)) ** 2, starts) / counts)
    varied = std > 1e-12 * np.maximum(np.abs(mean), np.finfo(float).tiny)
    scaled = (values - np.repeat(mean, counts)) / np.repeat(np.where(varied, std, 1.0), counts)
    ascending = scaled[np.lexsort((scaled, np.repeat(np.arange(len(counts)), counts)))]
    best = Fitted.beginning(len(counts))
    for shares in STARTS:
        at = [starts + np.floor(share * (counts - 1) + 0.5).astype(np.int64) for share in shares]
        best = best.or_better(_climb(scaled, counts, ascending[np.stack(at)], np.flatnonzero(varied)))
    order = np.argsort(best.means, axis=0, kind="stable")
    weights, means, variances = (np.take_along_axis(found, order, axis=0) for found in (best.weights, best.means, best.variances))
    one = -0.5 * (np.log(2 * np.pi) + 1)  # mean log likelihood of standardized values under one normal distribution
    evidence = np.where(varied, 2 * counts * (best.likelihood - one) - 3 * np.log(counts), -np.inf)
    return Mixture(weights, mean + means * std, np.sqrt(variances) * np.where(varied, std, 0.0), evidence)


@dataclass(frozen=True)
class Fitted:
    """Parameters of standardized values: arrays `[2, G]`, and the mean log likelihood `[G]` per sample under them."""

    weights: Floats
    means: Floats
    variances: Floats
    likelihood: Floats

    @classmethod
    def beginning(cls, groups: int) -> Fitted:
        """Of which nothing is known yet."""
        return cls(np.full((2, groups), 0.5), np.zeros((2, groups)), np.ones((2, groups)), np.full(groups, -np.inf))

    def or_better(self, other: Fitted) -> Fitted:
        """Of each group the likelier of both, this one if they are equal."""
        better = other.likelihood > self.likelihood
        return Fitted(*(np.where(better, theirs, ours) for ours, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


def _climb(scaled: Floats, counts: Integers, means: Floats, active: Integers) -> Fitted:
    """Expectation maximization from equal weights, variances of one, and `means` `[2, G]`.

    Args:
        scaled: standardized values of all groups, one after the other, `[N]`.
        counts: of each group, `[G]`.
        means: that it begins at.
        active: groups that are fitted.
    """
    starts, found = np.cumsum(counts) - counts, Fitted.beginning(len(counts))
    weights, variances, likelihood = found.weights, found.variances, found.likelihood
    for _ in range(STEPS):
        if not len(active):
            break
        values, sizes = _of_groups(scaled, starts, counts, active), counts[active]
        updated, before = _step(values, sizes, weights[:, active], means[:, active], variances[:, active])
        moving = before - likelihood[active] >= TOLERANCE
        likelihood[active] = before
        active = active[moving]
        weights[:, active], means[:, active], variances[:, active] = (part[:, moving] for part in updated)
    return Fitted(weights, means, variances, likelihood)


def _of_groups(values: Floats, starts: Integers, counts: Integers, groups: Integers) -> Floats:
    """The values of some groups, one group after the other."""
    if len(groups) == len(counts):
        return values
    sizes = counts[groups]
    offsets = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.asarray(values[np.repeat(starts[groups], sizes) + offsets])


def adapted(values: Floats, counts: Integers, common: Mixture, strength: float = BORROWED) -> Mixture:
    """The mixtures of G groups that each borrow `strength` samples from a common one: maxima a posteriori, from the common mixture on.

    A large group follows its own values, and a small one the common mixture, without a size from which on the one or the other holds.
    The evidence is that of the common mixture.

    Args:
        values: of the groups one after the other, `[N]`; at least one of each.
        counts: of each group, `[G]`.
        common: of one group, with two components of positive variance.
        strength: samples that lie as the common mixture says, and are added to each group.
    """
    starts = np.cumsum(counts) - counts
    prior = (common.weights, common.means, common.stds**2)
    weights, means, variances = (np.repeat(part, len(counts), axis=1) for part in prior)
    likelihood, active = np.full(len(counts), -np.inf), np.arange(len(counts))
    for _ in range(STEPS):
        if not len(active):
            break
        part, sizes = _of_groups(values, starts, counts, active), counts[active]
        updated, before = _step(part, sizes, weights[:, active], means[:, active], variances[:, active], (prior, strength))
        moving = np.abs(before - likelihood[active]) >= TOLERANCE
        likelihood[active] = before
        active = active[moving]
        weights[:, active], means[:, active], variances[:, active] = (found[:, moving] for found in updated)
    return Mixture(weights, means, np.sqrt(variances), np.repeat(common.evidence, len(counts)))


def _step(
    values: Floats,
    counts: Integers,
    weights: Floats,
    means: Floats,
    variances: Floats,
    borrowed: tuple[tuple[Floats, Floats, Floats], float] | None = None,
) -> tuple[tuple[Floats, Floats, Floats], Floats]:
    """New weights, means and variances `[2, G]`, and the mean log likelihood `[G]` of the old ones.

    Args:
        values: of all groups, one after the other, `[N]`.
        counts: of each group, `[G]`.
        weights: of the components, `[2, G]`.
        means: likewise.
        variances: likewise.
        borrowed: a prior's weights, means and variances `[2, 1]`, and how many samples it stands for.
    """
    starts = np.cumsum(counts) - counts
    logs = np.empty((2, len(values)))
    for k in range(2):
        constant = np.repeat(np.log(weights[k]) - 0.5 * np.log(2 * np.pi * variances[k]), counts)
        logs[k] = constant - (values - np.repeat(means[k], counts)) ** 2 * np.repeat(0.5 / variances[k], counts)
    together = np.logaddexp(logs[0], logs[1])
    likelihood = np.add.reduceat(together, starts) / counts
    (own, centers, spreads), strength = borrowed or ((np.zeros((2, 1)),) * 3, 0.0)
    found = np.empty((3, 2, len(counts)))
    for k in range(2):
        share = np.exp(logs[k] - together)
        more = strength * own[k]
        total = np.maximum(np.add.reduceat(share, starts) + more, np.finfo(float).tiny)
        center = (np.add.reduceat(share * values, starts) + more * centers[k]) / total
        squares = np.add.reduceat(share * (values - np.repeat(center, counts)) ** 2, starts)
        squares += more * (spreads[k] + (centers[k] - center) ** 2)
        found[0, k], found[1, k], found[2, k] = total / (counts + strength), center, squares / total + RIDGE
    return (found[0], found[1], found[2]), likelihood
