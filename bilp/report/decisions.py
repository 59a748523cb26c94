"""How closely adaptive pruning kept to its aim: over a run, by round, by class, at the boundaries and inside rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bilp.pruning.adaptive import TOLERANCE
from bilp.report.wording import count, share


@dataclass(frozen=True)
class Decisions:
    """All decisions of a run from its beginning to the end of a round; arrays `[classes]`."""

    round: int
    decided: np.ndarray
    dropped: np.ndarray
    by_quantile: tuple[int, ...]
    """Classes that use empirical quantiles by then."""


def round_shares(decisions: Sequence[Decisions]) -> dict[int, float]:
    """Share dropped among the decisions of each round, its boundary included; rounds without a decision are left out."""
    shares, before = {}, (0, 0)
    for now in decisions:
        totals = int(now.decided.sum()), int(now.dropped.sum())
        if totals[0] > before[0]:
            shares[now.round] = (totals[1] - before[1]) / (totals[0] - before[0])
        before = totals
    return shares


def spread_so_far(decisions: Decisions) -> str:
    """The share over all classes, with the smallest and the largest of a single one."""
    some = decisions.decided > 0
    if not some.any():
        return "–"
    shares = decisions.dropped[some] / decisions.decided[some]
    whole = decisions.dropped.sum() / decisions.decided.sum()
    return f"{share(float(whole))} ({share(float(shares.min()))} to {share(float(shares.max()))})"


def aim_sentence(last: Sequence[Decisions], beta: float, class_names: Sequence[str], always: bool) -> str:
    """Whether the runs, whose last decisions are `last`, met their aim, and which classes left the normal thresholds.

    `always` says that empirical quantiles were asked for.
    """
    decided, dropped = (sum(int(part.sum()) for part in parts) for parts in zip(*((d.decided, d.dropped) for d in last), strict=True))
    if decided == 0:
        return ""
    real = dropped / decided
    met = abs(real - beta) <= TOLERANCE
    words = "within" if met else "MISSED by more than"
    points = f"{100 * TOLERANCE:g} percentage points"
    told = f"Over all {decided:,} decisions {share(real)} were left out: the aim of {share(beta)} was "
    told += f"kept {words} {points}." if met else f"{words} {points}. Very small pools and floors (minimum_per_class) can force this."
    fallen = sorted({c for d in last for c in d.by_quantile})
    if always:
        return f"{told} Thresholds were empirical quantiles throughout."
    if not fallen:
        return f"{told} Thresholds come from the mean and the variance of the log effects of a class, and fitted every class."
    names = ", ".join(class_names[c] for c in fallen[:10]) + (f" and {len(fallen) - 10} more" if len(fallen) > 10 else "")
    where = f"In {count(len(fallen), 'class', 'classes')} they did not fit, so that empirical quantiles took over: {names}."
    return f"{told} Thresholds come from the mean and the variance of the log effects of a class. {where}"
