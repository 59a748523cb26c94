"""The share to keep, found from the scores: a mixture of two components, of which the one of easy samples stays.

Wrong labels make two populations: samples whose given label networks come to believe, and samples whose label they come to
contradict. On the logarithm of the loss, or on the margin, both are roughly normal (Li et al. 2020, DivideMix, fit such a mixture to
losses, and distillation from noisy labels does the same).

A mixture alone would cut clean data, too: scores of one population are skewed, and two normal distributions fit a skewed one better
than one does. So whether there are two populations is asked of all samples together, where there are enough to tell. The low
component alone is kept only if all of this holds:

* the Bayesian information criterion prefers two components to one;
* they are apart: Ashman's D, the distance of their means by their deviations, exceeds `APART`;
* the high one is of samples whose given label networks doubt: its mean lies beyond the score at which a label has one half
  of the probability, or the margin of zero (`Mixed.doubtful` of the criterion).

Where each class is then cut follows from its own mixture, which borrows from that of all samples (`mixture.adapted`): classes differ in
how hard and how dirty they are, and small ones have too few samples for five parameters of their own. Samples whose label is not
doubted stay in any case: with few wrong labels the components may share the skewed scores of clean samples between them.

Where networks are weak, populations that exist are not apart: 40 % of wrong labels among 4,000 images of CIFAR-10 give a D of 1.4 after
five epochs of a narrow network, and clean ones the same. So if there is no split, the networks are asked where they are sure, which
they are of some samples even then (`bilp.scoring.agreement`): if fewer than `SURE` of these have the given label, that share of each
class is kept, the easiest ones. If fewer than `BELIEVED` have it, networks have learned too little, or labels are too dirty, for
this to say anything of the labels: everything is kept.
"""

from __future__ import annotations

import numpy as np

from bilp.config.criteria import Mixed
from bilp.pruning import mixture
from bilp.pruning.choice import Found
from bilp.pruning.static import Floats, Ranked
from bilp.registry import resolve

AUTO_VERSION = 1
"""Of the rule: raised when it keeps other samples by the same scores."""
APART = 2.0
"""Ashman's D beyond which two components count as two (Ashman et al. 1994)."""
SURE = 0.9
"""Networks that are sure agree with as many of the labels or more: fewer wrong ones are not told from hard samples."""
BELIEVED = 0.5
"""Networks that agree with fewer of the labels where they are surest are not believed. A choice of this project: clean digits after four
epochs of a network of width 8 reach 0.11, labels of which 40 % are wrong 0.64 to 0.72."""


def believed_share(agreed: float | None) -> float | None:
    """The share of right labels that follows from how often sure networks agree with them; None where nothing is to be dropped for it."""
    return agreed if agreed is not None and BELIEVED <= agreed < SURE else None


def find(samples: Ranked, mixed: Mixed, sign: float, per_class: bool) -> tuple[Floats, Found]:
    """Normal values `[N]` of the scores, hard ones high, and what mixtures say of them.

    Args:
        samples: ranked by a criterion.
        mixed: how its scores become normal, and from where on they mean doubt.
        sign: 1 if hard samples have high scores, -1 if they have low ones.
        per_class: whether classes have mixtures of their own, which borrow from that of all samples.
    """
    function = resolve(mixed.normal)
    values: Floats = sign * np.asarray(function(samples.scores), dtype=np.float64)
    doubtful = sign * float(function(np.array([mixed.doubtful]))[0])
    common = mixture.fit(values, np.array([len(values)]))
    separation, threshold = float(common.separation()[0]), float(common.thresholds()[0])
    split = bool(common.evidence[0] > 0 and separation > APART and common.means[1, 0] > doubtful and np.isfinite(threshold))
    classes = samples.total
    own = mixture.adapted(values[samples.by_class], classes, common) if split and per_class else common.repeated(len(classes))
    thresholds = np.maximum(own.thresholds(), doubtful) if split else np.full(len(samples.total), np.inf)
    return values, Found(split, separation, own.weights, own.means, own.stds, thresholds)
