"""How well a score tells which labels are wrong: AUROC, AUPRC, and precision among as many as are wrong.

High scores are suspicious. All of them look at the order of the scores alone; equal scores count as if their order were drawn by lot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]


def auroc(score: Floats, wrong: Mask) -> float:
    """The chance that a wrong label has a higher score than a right one, ties counting half; scores and flags are `[N]`.

    NaN if no label is wrong, or all are. Raises ValueError for other shapes and for scores that are NaN.
    """
    _check(score, wrong)
    positive = int(wrong.sum())
    negative = len(wrong) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(score, method="average")
    return float((ranks[wrong].sum() - positive * (positive + 1) / 2) / (positive * negative))


def auprc(score: Floats, wrong: Mask) -> float:
    """Average precision, the area below precision over recall: the sum of (R_k - R_{k-1}) P_k over the different scores, descending.

    Scores and flags are `[N]`; NaN if no label is wrong. Raises ValueError as `auroc`.
    """
    _check(score, wrong)
    positive = int(wrong.sum())
    if not positive:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)  # of each run of equal scores
    found = np.cumsum(wrong[order])[last]
    precision = found / (last + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / positive)


def precision_at_errors(score: Floats, wrong: Mask) -> float:
    """The share of wrong labels among as many samples of the highest scores as there are wrong labels.

    Of samples that share the score at the cut, the part that fits is taken, with the share of wrong labels that all of them have.
    Scores and flags are `[N]`; NaN if no label is wrong. Raises ValueError as `auroc`.
    """
    _check(score, wrong)
    positive = int(wrong.sum())
    if not positive:
        return float("nan")
    cut = np.partition(score, len(score) - positive)[len(score) - positive]
    above, at = score > cut, score == cut
    found = wrong[above].sum() + (positive - above.sum()) * wrong[at].mean()
    return float(found / positive)


def _check(score: Floats, wrong: Mask) -> None:
    if score.ndim != 1 or score.shape != wrong.shape:
        raise ValueError(f"scores {list(score.shape)} and flags {list(wrong.shape)}: both are [N]")
    if wrong.dtype != np.bool_:
        raise ValueError(f"flags are true or false, not {wrong.dtype}")
    if np.isnan(score).any():
        raise ValueError(f"{int(np.isnan(score).sum())} of {len(score)} scores are NaN: such samples have no rank")
