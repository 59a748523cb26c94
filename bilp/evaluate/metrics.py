"""What evaluations say: mean accuracies with 95 % intervals, and paired differences between arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bilp.artifacts.artifact import open_artifact
from bilp.errors import ConfigError
from bilp.evaluate.rows import KIND, evaluation_rows
from bilp.evaluate.uncertainty import Estimate, estimate, over, p_value
from bilp.storage.objects import Uri, as_uri


@dataclass(frozen=True)
class Row:
    """Accuracy of one arm on one network, as fractions in [0, 1], over n trainings."""

    arm: str
    network: str
    mean: float
    half_width95: float
    n: int
    top_k: TopK | None = None
    """None where that was not recorded for all of these trainings alike."""


@dataclass(frozen=True)
class Measurement:
    """The accuracy of one training, after its last epoch; also top-k, which is NaN and `top_k` 0 where it was not recorded."""

    arm: str
    experiment: int
    network: str
    seed: int
    accuracy: float
    top_k: int = field(default=0, kw_only=True)
    top_k_accuracy: float = field(default=math.nan, kw_only=True, compare=False)


@dataclass(frozen=True)
class Difference:
    """Mean difference in accuracy and half the width of its 95 % interval, over n values."""

    mean: float
    half_width95: float
    n: int


@dataclass(frozen=True)
class TopK:
    """Mean share of test images whose class is among the k likeliest, with its 95 % interval."""

    k: int
    share: Difference


@dataclass(frozen=True)
class PairedTest:
    """A paired difference, its t statistic, and the probability of one at least as large by chance."""

    difference: Difference
    t: float
    p: float


def measurements(evaluation_uris: Sequence[Uri]) -> list[Measurement]:
    """All trainings of the evaluations. Raises MissingArtifact or DamagedArtifact."""
    names = list(Measurement.__dataclass_fields__)
    rows = [row for uri in evaluation_uris for row in evaluation_rows(open_artifact(as_uri(uri), KIND))]
    return [Measurement(**{name: row[name] for name in names}) for row in rows]


def summary(evaluation_uris: Sequence[Uri]) -> list[Row]:
    """One row per arm and network, in order of appearance, over the trainings of all experiments and seeds (`mean_accuracy`)."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for measured in measurements(evaluation_uris):
        groups.setdefault((measured.arm, measured.network), []).append(measured)
    means = [(arm, network, mean_accuracy(rows), mean_top_k(rows)) for (arm, network), rows in groups.items()]
    return [Row(arm, network, mean.mean, mean.half_width95, mean.n, top_k) for arm, network, mean, top_k in means]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of independent values and half width of its 95 % interval by Student's t; the half width of a single value is infinite."""
    found = over(list(values))
    return found.mean, found.half_width95


def mean_accuracy(rows: Sequence[Measurement]) -> Difference:
    """The mean accuracy of an arm over n trainings, with an interval that covers distillations and trainings (`bilp.evaluate.uncertainty`).

    With one distillation the interval covers trainings on its set alone.
    """
    found = estimate({(row.experiment, (row.network, row.seed)): row.accuracy for row in rows})
    return Difference(found.mean, found.half_width95, len(rows))


def mean_top_k(rows: Sequence[Measurement]) -> TopK | None:
    """As `mean_accuracy`, of top-k accuracies; None where they were not recorded for all of these trainings with one k."""
    counted = {row.top_k for row in rows}
    if len(counted) != 1 or 0 in counted:
        return None
    return TopK(counted.pop(), mean_accuracy([replace(row, accuracy=row.top_k_accuracy) for row in rows]))


def top_words(k: int) -> str:
    """What a top-k accuracy is called: 'top 5'."""
    return f"top {k}"


def paired_difference(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> Difference:
    """Accuracy of `ours` minus `theirs` over the trainings with the same (experiment, network, seed).

    These share their initial network and the order of batches, so chance that is common to both cancels. Trainings on
    the same synthetic set are no independent evidence about how it was made: with several experiments n is their number and the interval
    covers both levels (`bilp.evaluate.uncertainty`), with one n counts the single pairs and the interval speaks of that set only.
    Raises ConfigError if the two do not consist of the same trainings.
    """
    found, n = _paired(ours, theirs)
    return Difference(found.mean, found.half_width95, n)


def gain_over(ours: Sequence[Measurement], control: Sequence[Measurement]) -> Difference:
    """Accuracy of `ours` minus that of a `control` that has one experiment, over the trainings with the same (network, seed).

    Each distillation is compared with the same control, whose luck with a seed is a part of what that seed adds to every difference.
    n counts the seeds. Raises ConfigError as `paired_difference`.
    """
    experiments = dict.fromkeys(row.experiment for row in ours)
    repeated = [replace(row, experiment=experiment) for experiment in experiments for row in control]
    found, _ = _paired(ours, repeated)
    return Difference(found.mean, found.half_width95, len(control))


def _paired(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> tuple[Estimate, int]:
    """The difference, and over how many values: experiments, or the pairs of a single one."""
    left, right = _by_training(ours), _by_training(theirs)
    if not left or left.keys() != right.keys():
        alone = sorted(left.keys() ^ right.keys())
        shown = ", ".join(f"experiment {e} {n} seed {s}" for e, n, s in alone[:3]) + (", ..." if len(alone) > 3 else "")
        raise ConfigError(f"cannot pair {len(left)} with {len(right)} trainings ({shown or 'there are none'}): evaluate both alike")
    differences = {(e, (network, seed)): value - right[e, network, seed] for (e, network, seed), value in left.items()}
    experiments = len({experiment for experiment, _ in differences})
    return estimate(differences), experiments if experiments > 1 else len(differences)


def paired_test(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> PairedTest:
    """Two-sided paired t test of `paired_difference`, over the same values. Raises ConfigError as it does.

    With a single value nothing can be tested: t is nan and p is 1. Equal values everywhere give t = 0, or an infinite one.
    """
    told, n = _paired(ours, theirs)
    found = Difference(told.mean, told.half_width95, n)
    if math.isinf(told.error):
        return PairedTest(found, math.nan, 1.0)
    t = told.mean / told.error if told.error else math.copysign(math.inf, told.mean) if told.mean else 0.0
    return PairedTest(found, t, p_value(told))


def _by_training(rows: Sequence[Measurement]) -> dict[tuple[int, str, int], float]:
    found = {(row.experiment, row.network, row.seed): row.accuracy for row in rows}
    if len(found) != len(rows):
        raise ConfigError("several trainings have the same experiment, network and seed: compare one arm with one arm")
    return found
