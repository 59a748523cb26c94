"""Rule strata: coverage-centric coreset selection (Zheng et al. 2023), which draws from all ranges of the score alike."""

from __future__ import annotations

import numpy as np

from bilp.pruning.choice import Choice, Chosen
from bilp.pruning.static import Floats, Integers, decimal, kept_counts, random_scores, round_half_up

STREAM = "strata"


def choose(choice: Choice) -> Chosen:
    """Drop the hardest samples, divide the range of the other scores into strata of equal width, and draw from these.

    The number to keep is shared out from the smallest stratum to the largest: each gives an equal part of what is left, or all that it
    has, so that the sum is exact (algorithm 1 of the paper, there for all classes together). Which samples of a stratum stay is
    drawn from a stream of the seed for each class. Scores may be negative.
    """
    samples, config = choice.samples, choice.config
    order, sizes = samples.together(config.per_class)
    group = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    hardest = round_half_up(decimal(config.hardest), sizes)
    high = config.drop == "high"
    rest = place < np.repeat(sizes - hardest, sizes) if high else place >= np.repeat(hardest, sizes)
    stratum = strata(samples.scores[order[rest]], sizes - hardest, config.strata)
    cell = group[rest] * config.strata + stratum
    members = np.bincount(cell, minlength=len(sizes) * config.strata).reshape(len(sizes), config.strata)
    quota = shares(members, kept_counts(float(config.keep), sizes)).ravel()
    drawn = random_scores(samples.labels, len(samples.classes), config.seed, STREAM)[order[rest]]
    by_cell = np.lexsort((drawn, cell))
    counts = members.ravel()
    within = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = np.zeros(len(order), dtype=np.bool_)
    kept[order[rest][by_cell]] = within < np.repeat(quota, counts)
    return Chosen(kept)


def strata(ascending: Floats, sizes: Integers, number: int) -> Integers:
    """The stratum `[n]`, from 0, of scores that are ascending in each of groups of `sizes` `[G]`; one of equal scores alone has one."""
    ends = np.cumsum(sizes)
    present = sizes > 0
    lowest, width = np.zeros(len(sizes)), np.ones(len(sizes))
    lowest[present] = ascending[(ends - sizes)[present]]
    width[present] = ascending[ends[present] - 1] - lowest[present]
    width[width == 0] = 1.0
    position = (ascending - np.repeat(lowest, sizes)) / np.repeat(width, sizes)
    return np.minimum((position * number).astype(np.int64), number - 1)


def shares(members: Integers, quota: Integers) -> Integers:
    """How many of each stratum `[G, S]` stay so that they are quota[g] in all, given how many there are `[G, S]`."""
    smallest_first = np.argsort(members, axis=1, kind="stable")
    given = np.zeros_like(members)
    left, rows = quota.copy(), np.arange(len(members))
    for turn in range(members.shape[1]):
        column = smallest_first[:, turn]
        given[rows, column] = np.minimum(members[rows, column], left // (members.shape[1] - turn))
        left = left - given[rows, column]
    return given
