"""Rule medium: the samples whose scores are closest to the median stay."""

from __future__ import annotations

import numpy as np

from bilp.pruning.choice import Choice, Chosen
from bilp.pruning.static import Floats, Integers, kept_counts


def choose(choice: Choice) -> Chosen:
    """Keep the samples of each class, or of all together, whose scores differ least from the median.

    Both ends lose samples, the flatter one more: that is what sets it apart from dropping both ends, which counts ranks. Of equally
    distant ones the lower score stays, and of equal scores the lower index.
    """
    samples, config = choice.samples, choice.config
    order, sizes = samples.together(config.per_class)
    group = np.repeat(np.arange(len(sizes)), sizes)
    ascending = samples.scores[order]
    distance = np.abs(ascending - np.repeat(medians(ascending, sizes), sizes))
    nearest = np.lexsort((distance, group))  # stable: equal distances keep the ascending order
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.zeros(len(order), dtype=np.bool_)
    kept[order[nearest]] = place < np.repeat(kept_counts(float(config.keep), sizes), sizes)
    return Chosen(kept)


def medians(ascending: Floats, sizes: Integers) -> Floats:
    """The median of each group, of scores that are ascending in each of groups of `sizes` `[G]`."""
    first = np.cumsum(sizes) - sizes
    return np.asarray((ascending[first + (sizes - 1) // 2] + ascending[first + sizes // 2]) / 2)
