"""What may be concluded from the evaluations: means, paired differences, and how certain they are in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bilp.config.baselines import RANDOM_REAL
from bilp.config.network import NETWORKS
from bilp.errors import ConfigError
from bilp.evaluate.metrics import Difference, Measurement, gain_over, mean_accuracy, paired_difference

SMALLEST_SHOWN = 0.0005
"""Half width, as a fraction, below which one decimal of a per cent shows nothing."""


@dataclass(frozen=True)
class Training(Measurement):
    """A row of the evaluation tables; accuracies are fractions, `best_accuracy` is that of the best epoch on the test set."""

    best_accuracy: float
    train_images: int
    epochs: int
    best_top_k_accuracy: float = field(default=math.nan, kw_only=True, compare=False)


def of(rows: Sequence[Training], arm: str, network: str) -> list[Training]:
    """The trainings of one arm on one network."""
    return [row for row in rows if row.arm == arm and row.network == network]


def mean(rows: Sequence[Measurement], *, values: Sequence[float] | None = None) -> Difference:
    """Mean accuracy, or mean of `values`, with its 95 % interval over distillations and trainings (`bilp.evaluate.uncertainty`)."""
    numbered = rows if values is None else [replace(row, accuracy=value) for row, value in zip(rows, values, strict=True)]
    return mean_accuracy(numbered)


def against_arm(rows: Sequence[Training], arm: str, other: str, network: str) -> Difference | None:
    """Paired difference of two distilled arms; None if one was not evaluated or not in the same trainings."""
    try:
        return paired_difference(of(rows, arm, network), of(rows, other, network))
    except ConfigError:
        return None


def against_baseline(rows: Sequence[Training], arm: str, baseline: str, network: str) -> Difference | None:
    """Difference to a baseline, paired by seed; None if one was not evaluated or not in the same trainings."""
    try:
        return gain_over(of(rows, arm, network), of(rows, baseline, network))
    except ConfigError:
        return None


def over_random(rows: Sequence[Training], arm: str, network: str) -> Difference | None:
    """What an arm gains over as many random real images under the same protocol, paired by seed; None of these images themselves,
    and if they were not evaluated in the same trainings."""
    return None if arm == RANDOM_REAL else against_baseline(rows, arm, RANDOM_REAL, network)


def network_title(network: str) -> str:
    """The name people use, and its settings in brackets: 'ConvNet (width 64, depth 2)' for 'convnet width 64 depth 2'."""
    name, *words = network.split(" ")
    settings = [" ".join(words[k : k + 2]) for k in range(0, len(words), 2)]
    title = NETWORKS[name].title if name in NETWORKS else name
    return f"{title} ({', '.join(settings)})" if settings else title


def network_name(network: str) -> str:
    """The title without settings."""
    return network_title(network.partition(" ")[0])


def percent(value: Difference) -> str:
    """'78.1 % ± 1.2', unbreakable; an interval that would be rounded to nothing gets a second decimal: '0.10 % ± 0.02'."""
    decimals = 2 if 0 < value.half_width95 < SMALLEST_SHOWN else 1
    half = f"\u00a0±\u00a0{100 * value.half_width95:.{decimals}f}" if math.isfinite(value.half_width95) else ""
    return f"{100 * value.mean:.{decimals}f}\u00a0%{half}"


def points(value: Difference) -> str:
    """'+0.4 ± 0.9 points'."""
    shown = f"{100 * value.mean:+.1f}".replace("-", "−")
    half = f"\u00a0±\u00a0{100 * value.half_width95:.1f}" if math.isfinite(value.half_width95) else ""
    return f"{shown}{half} points"


def clear(value: Difference) -> bool:
    """The interval excludes zero."""
    return math.isfinite(value.half_width95) and abs(value.mean) > value.half_width95


def judgment(value: Difference) -> str:
    """What an interval of a difference allows to say."""
    if not math.isfinite(value.half_width95):
        return "too few trainings to tell"
    if not clear(value):
        return "no clear difference"
    return "a clear gain" if value.mean > 0 else "a clear loss"
