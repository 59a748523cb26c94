"""Which accuracy a published table gives: each metric is an entry with the places that count as right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from bilp.errors import ConfigError
from bilp.evaluate.metrics import Measurement, top_words
from bilp.registry import EntryName, Registry

ACCURACY = 1
"""The k of accuracy itself."""


@dataclass(frozen=True)
class PublishedMetric:
    """What a recipe may state as `published.metric`."""

    name: str
    title: str
    """In words."""
    ks: tuple[int, ...]
    """What ours are compared by: an answer is right if the class is among so many likeliest ones."""
    sure: bool = True
    """Whether the value is known to be of this metric: what was not recorded is refused then, and left out otherwise."""


TOP_1 = PublishedMetric("top1", "top-1 accuracy", (ACCURACY,))
METRICS = Registry(
    "metric",
    PublishedMetric,
    (
        TOP_1,
        PublishedMetric("top5", "top-5 accuracy", (5,)),
        PublishedMetric("unknown", "metric unknown", (ACCURACY, 5), sure=False),
    ),
)
MetricName = Annotated[str, EntryName("bilp.evaluate.published_metrics:METRICS")]


def check_recorded(metric: PublishedMetric, top_k: int) -> None:
    """Raise ConfigError, before any work, if an evaluation with this evaluate.top_k would not record what was published."""
    missing = [k for k in metric.ks if k not in (ACCURACY, top_k)]
    if metric.sure and missing:
        raise ConfigError(
            f"the published value is a {metric.title}, and evaluate.top_k = {top_k} records another one: set it to {missing[0]}"
        )


def measured(rows: Sequence[Measurement], metric: PublishedMetric, k: int) -> list[Measurement] | None:
    """The trainings with their accuracy at `k` in the place of accuracy; None for what nobody is sure of and was not recorded.

    Raises ConfigError if it is what was published.
    """
    if k == ACCURACY:
        return list(rows)
    if all(row.top_k == k for row in rows):
        return [replace(row, accuracy=row.top_k_accuracy) for row in rows]
    if not metric.sure:
        return None
    arm = next(row.arm for row in rows if row.top_k != k)
    raise ConfigError(
        f"the published value is a {metric.title}, and the evaluation of {arm} has no {top_words(k)} accuracies: it is older than these, "
        f"or has no more than {k} classes; evaluate again with another evaluate.seed, or on all classes"
    )
