"""The artifact of a study: its file, all rows, tables for other programs and the page, made of the parts that are there.

It is made of the parts and can be made again at any time, so it is taken away and published anew, under the same names, when there are
more of them or the program is another one. Parts never change by that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from bilp.artifacts.artifact import Artifact, content_key, find
from bilp.artifacts.facts import StudyFacts, StudyPartFacts
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish
from bilp.artifacts.report_places import FILE as REPORT
from bilp.config.base import as_recorded
from bilp.errors import DamagedArtifact, MissingArtifact
from bilp.results.unchanged import program
from bilp.storage import objects
from bilp.studies.definition import Study
from bilp.studies.study_exports import as_csv, as_latex
from bilp.studies.study_page import study_page
from bilp.studies.study_part import (
    DETECTION,
    DETECTION_FILE,
    PARTS,
    ROWS,
    ROWS_FILE,
    SECONDS_FILE,
    STAGE_SECONDS,
    Part,
    read_part,
    study_uri,
)
from bilp.studies.study_progress import Progress
from bilp.studies.study_table import Table, table_of
from bilp.text.sample_words import speaking_of

VERSION = 1
KIND = "study"
TRIES = 5
"""Times that it is published anew if somebody else took files of it away meanwhile."""
PAGE, TEXT, CSV, LATEX = "study.html", "study.yaml", "table.csv", "table.tex"


def publish_study(progress: Progress) -> str:
    """Write what is there of a study, unless that is what is there already; the URI of its page.

    Raises MissingArtifact if no block is there yet.
    """
    parts = [read_part(artifact) for _, artifact in progress.parts()]
    if not parts:
        raise MissingArtifact(f"nothing of study {progress.plan.study.name} is there yet: run it without --page")
    uri, key, text = study_uri(progress.root, progress.key), progress.key, study_text(progress.plan.study)
    asked = [part.artifact.stated(StudyPartFacts).asked for part in parts]
    state = content_key("study_state", VERSION, parts=asked, text=text, program=dict(program()))
    there = find(uri, KIND, key)
    if there is not None and there.stated(StudyFacts).state == state and _whole(there):
        return there.place(PAGE)
    table = table_of(progress.plan, parts)
    with speaking_of(progress.plan.noun):
        files = {
            PAGE: study_page(table, key, text, _reports(parts)),
            TEXT: text.encode(),
            CSV: as_csv(table).encode(),
            LATEX: as_latex(table).encode(),
            **{name: _joined(parts, name, schema, key) for name, schema in _TABLES.items()},
        }
    told: dict[str, Any] = {
        "config": {"study": as_recorded(progress.plan.study)},
        "parents": {f"part {block.number}": artifact.uri for block, artifact in progress.parts()},
        "facts": {"name": progress.plan.study.name, "done": len(parts), "planned": len(progress.plan.blocks), "state": state},
    }
    for _ in range(TRIES):
        _take_away(uri)
        made = publish(uri, KIND, key, files, **told)
        if _whole(made):  # whoever publishes the same study just now may have taken files away
            break
    return made.place(PAGE)


def _whole(artifact: Artifact) -> bool:
    """Whether every file that the manifest names is there."""
    try:
        artifact.check_sizes()
    except DamagedArtifact:
        return False
    return True


def _take_away(uri: str) -> None:
    """Remove what was published before, or left by somebody who was killed; the manifest first, so that nothing half is taken for whole."""
    objects.delete(objects.join(uri, MANIFEST))
    for name in objects.children(uri):
        if name != PARTS:
            objects.delete(objects.join(uri, name))


def table_in(progress: Progress) -> Table:
    """The tables of what is there."""
    return table_of(progress.plan, [read_part(artifact) for _, artifact in progress.parts()])


def study_text(study: Study) -> str:
    """The study as a file, which leads to the same one: YAML, whose flow style is JSON."""
    values: Mapping[str, Any] = study.model_dump(mode="json", exclude_defaults=True)
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items() if not isinstance(value, dict)]
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {json.dumps(key)}: {json.dumps(inner, ensure_ascii=False)}" for key, inner in value.items())]
    return "\n".join(lines) + "\n"


_TABLES = {ROWS_FILE: ROWS, SECONDS_FILE: STAGE_SECONDS, DETECTION_FILE: DETECTION}


def _joined(parts: Sequence[Part], name: str, schema: pa.Schema, key: str) -> bytes:
    table = pa.concat_tables([part.artifact.table(name, schema) for part in parts])
    return encode(table, schema, {"stage": KIND, "key": key})


def _reports(parts: Sequence[Part]) -> list[tuple[str, str]]:
    """Title and link of each report, relative to the page of the study."""
    found = []
    for part in parts:
        facts = part.artifact.stated(StudyPartFacts)
        found += [(f"{facts.cell}, seed {facts.seed}", f"../../reports/{uri.rsplit('/', 1)[1]}/{REPORT}") for uri in part.reports]
    return found
