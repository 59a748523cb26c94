"""Facts of searches and of critical shares."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bilp.artifacts.facts.base import EntryName, Facts, Key, Number, Ordinal, Share


class SearchFacts(Facts):
    """A search (`bilp.search`): candidates count from 0."""

    dataset: Key
    method: EntryName
    """Of the proxies."""
    found: dict[EntryName, Share | EntryName]
    """What was found, by name of the setting."""
    reference: Number
    """The candidate that the others were compared with."""
    decision: Number
    candidates: Ordinal
    rungs: Ordinal
    held_out: Share
    seconds: Annotated[float, Field(ge=0.0)]
    """Of work that went into it, as far as it was recorded."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if max(self.reference, self.decision) >= self.candidates:
            raise ValueError(f"there are {self.candidates} candidates, numbered from 0")
        return self


class CriticalFacts(Facts):
    """The critical shares of criteria (`bilp.critical`)."""

    dataset: Key
    method: EntryName
    ipc: Ordinal
    tolerance: Annotated[float, Field(gt=0.0, lt=1.0)]
    """As a fraction of accuracy."""
    level: Annotated[float, Field(gt=0.0, lt=1.0)]
    whole: Share
    """Mean accuracy with all samples."""
    critical: dict[EntryName, Share]
    """The smallest share that was shown to be as good as all samples, of each criterion; 1 where none but the whole was."""
    low: dict[EntryName, Share]
    """The largest share that was shown to be worse; 0 where none was."""
    crossing: dict[EntryName, Share]
    """Where the mean difference falls below the tolerance; 0 if nowhere."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not self.critical.keys() == self.low.keys() == self.crossing.keys():
            raise ValueError("critical, low and crossing are of the same criteria")
        if any(not self.low[name] < share for name, share in self.critical.items()):
            raise ValueError("a share is not as good and worse at once")
        return self
