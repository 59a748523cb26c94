"""What a pipeline published up to its evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bilp.config import PipelineConfig


@dataclass(frozen=True)
class Outcome:
    """What a pipeline published: URIs, and the settings as they were found."""

    dataset: str
    record: str | None
    """None for images whose source is not known."""
    scores: str | None = None
    selection: str | None = None
    runs: Mapping[str, list[str]] = field(default_factory=dict)
    """By arm of the pipeline."""
    evaluations: Sequence[str] = ()
    report: str | None = None
    search: str | None = None
    """What found settings that said `search`."""
    config: PipelineConfig | None = None
    """The settings, with the numbers that were found in place of words; None for those that were given."""

    def with_report(self, uri: str) -> Outcome:
        """The same with the page about it."""
        return replace(self, report=uri)
