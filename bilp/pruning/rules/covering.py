"""Rule facility_location: samples that cover their class in the features of a trained network, weighted by the score (R-CAD)."""

from __future__ import annotations

import numpy as np

from bilp.pruning.choice import Choice, Chosen
from bilp.pruning.static import Floats, kept_counts
from bilp.scoring.facility_location import facility_location


def choose(choice: Choice) -> Chosen:
    """Pick samples of each class one by one, the largest gain of weighted facility location first.

    Raises ConfigError if there is no scoring whose network could give features.
    """
    samples, config, features = choice.samples, choice.config, choice.required_features()
    kept = np.zeros(len(samples.scores), dtype=np.bool_)
    ends = np.cumsum(samples.total)
    counts = kept_counts(float(config.keep), samples.total)
    for first, last, count in zip(ends - samples.total, ends, counts, strict=True):
        members = np.sort(samples.by_class[first:last])
        order = facility_location(features(members), weights(samples.scores[members], config.drop), int(count))
        kept[members[order]] = True
    return Chosen(kept)


def weights(scores: Floats, drop: str) -> Floats:
    """How much each sample `[n]` of a class counts: more, the further its score is from the end that is dropped.

    Scores that are not negative and of which high ones are wanted are the weights themselves, as in R-CAD; others are brought to 0
    at the dropped end and 1 at the other. All count alike where all scores are equal.
    """
    lowest, highest = float(scores.min()), float(scores.max())
    if lowest == highest:
        return np.ones_like(scores)
    if drop == "low" and lowest >= 0:
        return scores
    ascending = (scores - lowest) / (highest - lowest)
    return ascending if drop == "low" else 1.0 - ascending
