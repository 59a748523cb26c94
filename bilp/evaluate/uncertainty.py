"""The uncertainty of a mean over several distillations, each evaluated by several trainings.

The same seeds train networks on the set of every distillation (`bilp.evaluate.train_all`), so accuracies stand in a table of E
distillations by S trainings,

    y_es = mu + u_e + v_s + w_es,

where u_e is what distillation e adds, v_s what the networks and mini-batches of seed s add on every set, and w_es the rest; all are
random, for what is wanted is the accuracy on another set by another network. The grand mean has the variance

    Var(mean) = var(u) / E + var(v) / S + var(w) / (E S),

which (MS_E + MS_S - MS_R) / (E S) estimates without bias from the mean squares of the two-way table: MS_E of distillations, MS_S of
trainings, MS_R of the rest (Searle, Casella & McCulloch 1992, "Variance Components", chapter 4). Its degrees of freedom follow
Satterthwaite 1946. All E S accuracies taken as independent would give intervals that are far too short; so would the means of the
distillations alone, for no further distillation averages v away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, variance

CONFIDENCE = 0.95

Table = Mapping[tuple[int, tuple[str, int]], float]
"""Values by distillation and by the network and the seed of the training."""


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error (infinite if there is one value), and the degrees of freedom of Student's t that belong to it."""

    mean: float
    error: float
    freedom: float

    @property
    def half_width95(self) -> float:
        """Half the width of the 95 % interval of the mean; infinite if there is one value."""
        return self.error if self.error in (0.0, math.inf) else _quantile(self.freedom) * self.error


def estimate(values: Table) -> Estimate:
    """The mean of a table of values with its uncertainty.

    One distillation: that over its trainings alone, by Student's t. Several with the same trainings: the two-way model of this module.
    Several with different trainings, or with one each: Student's t over the means of the distillations.
    Raises ValueError for an empty table.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    distillations = list(dict.fromkeys(distillation for distillation, _ in values))
    trainings = list(dict.fromkeys(training for _, training in values))
    if len(distillations) == 1:
        return over(list(values.values()))
    if len(trainings) == 1 or len(values) != len(distillations) * len(trainings):
        return over([fmean(value for (each, _), value in values.items() if each == one) for one in distillations])
    return _crossed([[values[one, training] for training in trainings] for one in distillations])


def over(values: list[float]) -> Estimate:
    """The mean of independent values."""
    if not values:
        raise ValueError("an interval needs at least one value")
    if len(values) == 1:
        return Estimate(values[0], math.inf, 0.0)
    return Estimate(fmean(values), math.sqrt(variance(values) / len(values)), len(values) - 1)


def p_value(found: Estimate) -> float:
    """Of a two-sided t test of a mean of zero; NaN for a single value, and 1 or 0 where values do not vary."""
    return math.nan if math.isinf(found.error) else 2.0 * probability_below(-abs(found.mean), found.error, found.freedom)


def probability_below(value: float, error: float, freedom: float) -> float:
    """Probability that Student's t lies below value / error; 0, one half or 1 where the error is 0."""
    if error == 0.0:
        return 0.5 if value == 0.0 else float(value > 0)
    from scipy.special import stdtr  # see `_quantile`

    return float(stdtr(freedom, value / error))


def _crossed(rows: list[list[float]]) -> Estimate:
    """Of E rows of S values. No estimate is smaller than one of its two levels alone says, which noise in the mean squares could make it.

    A sum of mean squares MS_k with f_k degrees of freedom has (sum)^2 / sum(MS_k^2 / f_k) of them (Satterthwaite 1946).
    """
    columns = list(zip(*rows, strict=True))
    e, s = len(rows), len(columns)
    row_means, column_means = [fmean(row) for row in rows], [fmean(column) for column in columns]
    mean = fmean(row_means)
    of_rows, of_columns = s * variance(row_means), e * variance(column_means)
    rest = sum((rows[i][j] - row_means[i] - column_means[j] + mean) ** 2 for i in range(e) for j in range(s)) / ((e - 1) * (s - 1))
    squares = max(of_rows, of_columns, of_rows + of_columns - rest)
    if squares == 0.0:
        return Estimate(mean, 0.0, float(min(e, s) - 1))
    freedom = squares**2 / (of_rows**2 / (e - 1) + of_columns**2 / (s - 1))
    return Estimate(mean, math.sqrt(squares / (e * s)), max(freedom, float(min(e, s) - 1)))


def _quantile(freedom: float) -> float:
    """Of Student's t, for a two-sided interval."""
    from scipy.special import stdtrit  # which takes longer to import than a listing of results may take

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
