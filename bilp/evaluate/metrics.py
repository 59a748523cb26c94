"""What evaluations say: mean accuracies with 95 % intervals, and paired differences between arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from bilp.artifacts.artifact import open_artifact
from bilp.errors import ConfigError
from bilp.evaluate.rows import KIND, evaluation_rows
from bilp.storage.objects import Uri, as_uri

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Row:
    """Accuracy of one arm on one network, as fractions in [0, 1], over n trainings."""

    arm: str
    network: str
    mean: float
    half_width95: float
    n: int


@dataclass(frozen=True)
class Measurement:
    """The accuracy of one training, after its last epoch."""

    arm: str
    experiment: int
    network: str
    seed: int
    accuracy: float


@dataclass(frozen=True)
class Difference:
    """Mean difference in accuracy and half the width of its 95 % interval, over n values."""

    mean: float
    half_width95: float
    n: int


@dataclass(frozen=True)
class PairedTest:
    """A paired difference, its t statistic with n - 1 degrees of freedom, and the probability of one at least as large by chance."""

    difference: Difference
    t: float
    p: float


def measurements(evaluation_uris: Sequence[Uri]) -> list[Measurement]:
    """All trainings of the evaluations. Raises MissingArtifact or DamagedArtifact."""
    names = list(Measurement.__dataclass_fields__)
    rows = [row for uri in evaluation_uris for row in evaluation_rows(open_artifact(as_uri(uri), KIND))]
    return [Measurement(**{name: row[name] for name in names}) for row in rows]


def summary(evaluation_uris: Sequence[Uri]) -> list[Row]:
    """One row per arm and network, in order of appearance, over the trainings of all experiments and seeds."""
    groups: dict[tuple[str, str], list[float]] = {}
    for measured in measurements(evaluation_uris):
        groups.setdefault((measured.arm, measured.network), []).append(measured.accuracy)
    return [Row(arm, network, *interval(values), len(values)) for (arm, network), values in groups.items()]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % interval by Student's t; the half width of a single value is infinite."""
    if not values:
        raise ValueError("an interval needs at least one value")
    if len(values) == 1:
        return values[0], math.inf
    return fmean(values), _quantile(len(values)) * stdev(values) / math.sqrt(len(values))


def paired_difference(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> Difference:
    """Accuracy of `ours` minus `theirs` over the trainings with the same (experiment, network, seed).

    These share their initial network and the order of batches, so chance that is common to both cancels. Trainings on
    the same synthetic set are no independent evidence about how it was made: with several experiments the values are
    the experiments' mean differences, with one they are the single pairs, and the interval speaks of that set only.
    Raises ConfigError if the two do not consist of the same trainings.
    """
    left, right = _by_training(ours), _by_training(theirs)
    if not left or left.keys() != right.keys():
        alone = sorted(left.keys() ^ right.keys())
        shown = ", ".join(f"experiment {e} {n} seed {s}" for e, n, s in alone[:3]) + (", ..." if len(alone) > 3 else "")
        raise ConfigError(f"cannot pair {len(left)} with {len(right)} trainings ({shown or 'there are none'}): evaluate both alike")
    by_experiment: dict[int, list[float]] = {}
    for training, value in left.items():
        by_experiment.setdefault(training[0], []).append(value - right[training])
    values = [fmean(pairs) for pairs in by_experiment.values()] if len(by_experiment) > 1 else next(iter(by_experiment.values()))
    return Difference(*interval(values), len(values))


def paired_test(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> PairedTest:
    """Two-sided paired t test of `paired_difference`, over the same values. Raises ConfigError as it does.

    With a single value nothing can be tested: t is nan and p is 1. Equal values everywhere give t = 0, or an infinite one.
    """
    found = paired_difference(ours, theirs)
    if found.n == 1:
        return PairedTest(found, math.nan, 1.0)
    error = found.half_width95 / _quantile(found.n)
    if error == 0.0:
        return PairedTest(found, 0.0, 1.0) if found.mean == 0.0 else PairedTest(found, math.copysign(math.inf, found.mean), 0.0)
    from scipy.special import stdtr

    t = found.mean / error
    return PairedTest(found, t, 2.0 * float(stdtr(found.n - 1, -abs(t))))


def _quantile(n: int) -> float:
    """Of Student's t, for the interval of the mean of n values."""
    from scipy.special import stdtrit  # which takes longer to import than a listing of results may take

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))


def _by_training(rows: Sequence[Measurement]) -> dict[tuple[int, str, int], float]:
    found = {(row.experiment, row.network, row.seed): row.accuracy for row in rows}
    if len(found) != len(rows):
        raise ConfigError("several trainings have the same experiment, network and seed: compare one arm with one arm")
    return found
