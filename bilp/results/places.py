"""The kinds of places below a storage root, each as a pattern of names: what lies in a storage is told by where it lies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

KEY, NUMBER, NAME = "KEY", "NUMBER", "NAME"
"""Parts of a pattern: a content key, a number of four digits or more, and any name."""
WILD: Mapping[str, re.Pattern[str]] = {
    KEY: re.compile("[0-9a-f]{16}"),
    NUMBER: re.compile(r"\d{4,}"),
    NAME: re.compile("[^/]+"),
}
ALONE = ("imported", "resized")
"""Folders of synthetic sets that lie in no run, and stay until they are removed by name."""
RUN, TRAININGS = "run", "trainings"
"""Kinds of what is no artifact: the record of a run, and finished trainings of evaluations."""


@dataclass(frozen=True)
class Place:
    """Where something of a kind lies; its key is the last one of the pattern."""

    kind: str
    pattern: str
    beside: bool = False
    """Whether its key is that of something else, which it lies beside and belongs to."""

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The pattern's names."""
        return tuple(self.pattern.split("/"))

    @cached_property
    def keyed(self) -> bool:
        """Whether a key alone tells which one it is, rather than a number beside it or a kind."""
        return (self.parts[-1] == KEY or self.parts[0] in ALONE) and not self.beside

    def fits(self, place: str) -> bool:
        """Whether `place`, relative to the root, is of this pattern."""
        names = place.split("/")
        return len(names) == len(self.parts) and all(fits(part, name) for part, name in zip(self.parts, names, strict=True))


# A root below another one's folder would be told wrongly by no pattern: all begin with a name of their own.
PLACES = (
    Place("report", "reports/KEY"),
    Place(RUN, "runs/KEY"),
    Place("evaluation", "evaluations/KEY"),
    Place("selection", "selections/KEY"),
    Place("teacher", "teachers/KEY"),
    Place("robustness", "robustness/KEY"),
    Place("reproduction", "reproductions/KEY"),
    Place("suspects", "suspects/KEY"),
    Place("search", "searches/KEY"),
    Place("critical", "critical/KEY"),
    Place("synthetic", "imported/KEY/synthetic"),
    Place("synthetic", "resized/KEY/synthetic"),
    Place("dataset", "datasets/NAME/KEY"),
    Place("dataset", "datasets/NAME/KEY/whitened/KEY"),
    Place("source", "datasets/NAME/sources/KEY"),
    Place("truth", "datasets/NAME/truth/KEY", beside=True),
    Place("ingest_plan", "datasets/NAME/plans/KEY"),
    Place("ingest_part", "datasets/NAME/parts/KEY/NUMBER"),
    Place("score_trial", "scores/KEY/KEY/trials/NUMBER"),
    Place("predictions", "scores/KEY/KEY/predictions/NUMBER"),
    Place("trial_networks", "scores/KEY/KEY/networks/NUMBER"),
    Place("score_growth", "scores/KEY/KEY/growth"),
    Place("score_summary", "scores/KEY/KEY/summary/KEY"),
    Place("expert", "experts/KEY/KEY/trainings/NUMBER"),
    Place("expert_buffer", "experts/KEY/KEY/buffers/KEY"),
    Place("pretrained_network", "pretrained/KEY/KEY/NUMBER"),
    Place("synthetic", "runs/KEY/synthetic"),
    Place("round", "runs/KEY/rounds/NUMBER"),
    Place("round", "runs/KEY/shards/NUMBER/rounds/NUMBER"),
    Place("reselect", "runs/KEY/rounds/NUMBER/reselect"),
    Place("reselect", "runs/KEY/shards/NUMBER/rounds/NUMBER/reselect"),
    Place("round_state", "runs/KEY/rounds/NUMBER/state"),
    Place("round_state", "runs/KEY/shards/NUMBER/rounds/NUMBER/state"),
    Place(TRAININGS, "trainings/KEY"),
    Place("study", "studies/KEY"),
    Place("study_part", "studies/KEY/parts/NUMBER"),
)
KEYED = tuple(place for place in PLACES if place.keyed)


def fits(part: str, name: str) -> bool:
    """Whether a name is one that a part of a pattern stands for."""
    wild = WILD.get(part)
    return name == part if wild is None else wild.fullmatch(name) is not None


def place_at(place: str) -> Place | None:
    """What kind of place this is, relative to the root; None if it is none."""
    return next((each for each in PLACES if each.fits(place)), None)


def enclosing(place: str) -> tuple[Place, str] | None:
    """The innermost place that `place` is or lies in, and which one; None if it lies in none."""
    names = place.split("/")
    for length in range(len(names), 1, -1):
        inner = "/".join(names[:length])
        if (found := place_at(inner)) is not None:
            return found, inner
    return None


def key_of(place: str) -> str:
    """The key of a place: the last of its names that is one."""
    return next((name for name in reversed(place.split("/")) if WILD[KEY].fullmatch(name)), "")
