"""What of a study is there, and the rest of it, block by block, whoever carries it out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.duration import now, timed
from bilp.artifacts.facts import StudyPartFacts
from bilp.atlas.entry import ENTRIES, split
from bilp.config import IngestConfig, PipelineConfig
from bilp.config.base import as_recorded
from bilp.data.sources import open_source
from bilp.results.unchanged import program
from bilp.storage import objects
from bilp.storage.objects import as_uri
from bilp.storage.verification import digest
from bilp.studies import time_left
from bilp.studies.pipeline_outcome import Outcome
from bilp.studies.study_part import asked, find_part, publish_part, study_key
from bilp.studies.study_plan import Block, Group, Plan

Work = Callable[[Group], Outcome]
"""Has the pipeline of a group carried out."""


@dataclass
class Progress:
    """A study in a storage: which of its blocks are there, as this program would compute them, and how long they took."""

    plan: Plan
    root: str
    processes: int = 1
    """How many compute blocks at the same time."""
    key: str = field(init=False)
    worked: dict[int, float] = field(default_factory=dict)
    """Seconds of blocks that are there, by number."""
    current: set[int] = field(default_factory=set)
    """Numbers of blocks whose settings, program and sources are the same still."""
    _signatures: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = study_key(self.plan)

    def look(self) -> None:
        """See what is there. Raises DamagedArtifact for what cannot be read, and BilpError if a source is not there."""
        for block in self.plan.blocks:
            self.there(block)

    def there(self, block: Block) -> Artifact | None:
        """What came of a block if it is there, as this program would compute it now. Raises as `look`."""
        artifact = find_part(self.root, self.key, block)
        if artifact is not None:
            self._note(block, artifact, artifact.stated(StudyPartFacts).asked == self.question(block))
        return artifact if block.number in self.current else None

    @property
    def waiting(self) -> list[Block]:
        """Blocks that are not there, or that would be computed otherwise now."""
        return [block for block in self.plan.blocks if block.number not in self.current]

    @property
    def left(self) -> float | None:
        """Seconds that they take, shared among the processes; None while nothing is known."""
        seconds = time_left.left(self.waiting, self.plan.blocks, self.worked)
        return None if seconds is None else seconds / max(1, min(self.processes, len(self.waiting)))

    def over(self, block: Block) -> bool:
        """Whether a block would not end within the study's budget."""
        minutes = self.plan.study.minutes
        if minutes is None:
            return False
        spent = sum(self.worked.values())
        return spent + (time_left.expected(block, self.plan.blocks, self.worked) or 0.0) > 60 * minutes

    def question(self, block: Block) -> str:
        """A digest of everything that decides what comes of a block."""
        given = [self._signature(group.config.ingest) for group in block.groups]
        named = [self._content(place) for group in block.groups for place in files_of(group.config)]
        return asked(block, program(), [*given, *named])

    def compute(self, block: Block, work: Work) -> Artifact:
        """Have a block computed, and publish what came of it."""
        from bilp.studies.detection import detected

        question = self.question(block)  # before: what changes meanwhile is no part of it
        began = now()
        outcomes = [(group, work(group)) for group in block.groups]  # whose artifacts tell their own seconds, not the block's
        with timed(began):
            artifact = publish_part(self.root, self.key, block, question, outcomes, detected(outcomes))
        self._note(block, artifact, True)
        return artifact

    def parts(self) -> Iterator[tuple[Block, Artifact]]:
        """Blocks that are there."""
        for block in self.plan.blocks:
            artifact = find_part(self.root, self.key, block)
            if artifact is not None:
                yield block, artifact

    def _note(self, block: Block, artifact: Artifact, current: bool) -> None:
        self.worked[block.number] = artifact.stated(StudyPartFacts).worked
        if current:
            self.current.add(block.number)

    def _signature(self, ingest: IngestConfig) -> Any:
        name = json.dumps(as_recorded(ingest), sort_keys=True)
        if name not in self._signatures:
            self._signatures[name] = open_source(ingest).signature()
        return self._signatures[name]

    def _content(self, place: str) -> str:
        """A digest of what lies at a place; of an atlas that of the names of its entries, which are digests."""
        if place not in self._signatures:
            atlas, key = split(place)
            names = [key] if key is not None else objects.children(objects.join(atlas, ENTRIES))
            self._signatures[place] = digest("\n".join(map(str, names)).encode() if names else objects.read(place))
        return str(self._signatures[place])


def files_of(config: PipelineConfig) -> list[str]:
    """Places of labels, corrections and scores that settings name, whose content counts and is no part of the source."""
    ingest, prune = config.ingest, config.prune
    named = (ingest.label_noise.file, ingest.corrections, prune.score_list, prune.scores)
    return [as_uri(place) for place in named if place is not None]
