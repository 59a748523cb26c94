"""A study in one call: `bilp.study("study.yaml")`, block by block and without Prefect."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bilp.api.ingested import read
from bilp.api.whole_stages import baselines_alone, page_of, up_to_evaluation
from bilp.api.workspace import Place, place_at, storage
from bilp.config.nested import as_plain
from bilp.storage.objects import Uri
from bilp.studies.definition import load_study, study_of
from bilp.studies.pipeline_outcome import Outcome
from bilp.studies.study_artifact import publish_study, table_in
from bilp.studies.study_plan import Group, planned
from bilp.studies.study_progress import Progress
from bilp.studies.study_words import sentences

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StudyResult:
    """What a study says: tables as DataFrames, and its page."""

    page: str
    """URI of the page."""
    table: pd.DataFrame
    """A row for each arm in each cell on each network: accuracies and differences in per cent, intervals, p values."""
    rows: pd.DataFrame
    """A row for each trained network; accuracies are fractions."""
    detection: pd.DataFrame
    """How well scores tell wrong labels, by cell and seed, where labels were made wrong on purpose."""
    summary: str
    """The sentences at the top of the page."""

    def __repr__(self) -> str:
        return f"{self.summary}\n{self.page}"

    def _repr_html_(self) -> str:
        return str(self.table.to_html())


def study(
    definition: Uri | Mapping[str, Any],
    *,
    root: Uri | None = None,
    device: str | None = None,
    **changes: Any,
) -> StudyResult:
    """Everything that is missing of a study, and what it says: `study("study.yaml")`, or a mapping of what such a file holds.

    It publishes what `bilp study` publishes, and finds what that has published; one that was stopped goes on.

    Args:
        definition: The path of a study's file, the name of one that comes with the program, or its content.
        root: The storage, by default BILP_STORAGE.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one.
        changes: Dials and groups of settings that go before those of the study.

    Raises ConfigError, in one line, for whatever is wrong in it, before anything is computed.
    """
    if isinstance(definition, Mapping):
        place, found = "study", study_of(as_plain(dict(definition)), "study")
    else:
        place = f"study {os.fsdecode(definition)}"
        found = load_study(os.fsdecode(definition))[0]
    progress = Progress(planned(found, place, as_plain(changes)), storage(root))
    progress.look()
    with place_at(progress.root, device) as at:
        for block in progress.waiting:
            if progress.over(block):
                break
            at.watch.step(block.title)
            progress.compute(block, lambda group: _computed(group, at, found.pages))
    return _result(progress)


def _computed(group: Group, at: Place, pages: bool) -> Outcome:
    """The stages of a group's pipeline."""
    record, dataset = read(group.config.ingest, at.root, at.watch)
    if not group.arms:
        return baselines_alone(group.config, dataset, record, at)
    done = up_to_evaluation(group.config, dataset, record, at)
    return done.with_report(page_of(group.config, done, at)) if pages else done


def _result(progress: Progress) -> StudyResult:
    import pandas as pd

    from bilp.studies.study_exports import as_records
    from bilp.studies.study_part import read_part

    page, table = publish_study(progress), table_in(progress)
    parts = [read_part(artifact) for _, artifact in progress.parts()]
    return StudyResult(
        page,
        pd.DataFrame(as_records(table)),
        pd.DataFrame([row for part in parts for row in part.rows]),
        pd.DataFrame([row for part in parts for row in part.detection]),
        "\n".join(sentences(table)),
    )
