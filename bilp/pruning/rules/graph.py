"""Rule graph: samples that are difficult and spread over their class, by messages between neighbors (D2, Maharana et al. 2024)."""

from __future__ import annotations

import numpy as np

from bilp.pruning.choice import Choice, Chosen
from bilp.pruning.static import Floats, decimal, kept_counts, round_half_up
from bilp.scoring.neighbor_graph import difficult_and_spread, nearest_neighbors


def choose(choice: Choice) -> Chosen:
    """Drop the hardest samples of each class, then pick the others one by one, the largest priority first.

    Raises ConfigError if there is no scoring whose network could give features.
    """
    samples, config, features = choice.samples, choice.config, choice.required_features()
    kept = np.zeros(len(samples.scores), dtype=np.bool_)
    ends = np.cumsum(samples.total)
    hardest = round_half_up(decimal(config.hardest), samples.total)
    counts = kept_counts(float(config.keep), samples.total)
    for first, last, beyond, count in zip(ends - samples.total, ends, hardest, counts, strict=True):
        rest = slice(first, last - beyond) if config.drop == "high" else slice(first + beyond, last)
        members = np.sort(samples.by_class[rest])
        if count:
            wanted = min(int(count), len(members))  # halves of the hardest and of what is kept may both be rounded up
            graph = nearest_neighbors(features(members), config.neighbors)
            order = difficult_and_spread(graph, difficulty(samples.scores[members], config.drop), wanted, config.gamma)
            kept[members[order]] = True
    return Chosen(kept)


def difficulty(scores: Floats, drop: str) -> Floats:
    """How difficult each sample `[n]` is, not negative, given which end is the hard one.

    Scores that are high for hard samples are taken as they are, above the lowest if that is negative; others are how far they lie below
    the highest.
    """
    if drop == "low":
        return np.asarray(scores.max() - scores)
    return np.asarray(scores - min(float(scores.min()), 0.0))
