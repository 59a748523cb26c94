"""What a pipeline published up to its evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Outcome:
    """What a pipeline published: URIs."""

    dataset: str
    record: str
    scores: str | None = None
    selection: str | None = None
    runs: Mapping[str, list[str]] = field(default_factory=dict)
    """By arm of the pipeline."""
    evaluations: Sequence[str] = ()
    report: str | None = None

    def with_report(self, uri: str) -> Outcome:
        """The same with the page about it."""
        return replace(self, report=uri)
