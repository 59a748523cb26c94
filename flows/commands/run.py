"""bilp run --dataset digits --method dm --ipc 1

The whole pipeline: ingest real images, score and prune them, distill every arm, evaluate, and write the page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from pydantic import TypeAdapter

from bilp.artifacts.artifact import open_artifact
from bilp.config import PipelineConfig
from bilp.config.command_line import configure
from bilp.errors import BilpError
from bilp.results import unchanged
from bilp.results.unchanged import Finished
from bilp.storage.objects import storage_root
from bilp.text.sample_words import speaking_of
from flows import accuracy_table, program
from flows.accuracy_table import Outcome
from tasks import output, terminal
from tasks.execution import Execution


def main(arguments: Sequence[str], documentation: str | None = __doc__) -> None:
    """Be the program that `documentation` describes."""
    output.settle()
    name, description = program.described(documentation)
    arguments = program.source_first(arguments, name)
    with output.readers_may_go():
        config = configure(arguments, name, description)
    asked = question(config)
    found, known = known_end(asked)
    if found is not None:
        program.guarded(name, lambda: told(found), lambda report: program.show_report(report, known))
        return
    import flows.pipeline  # noqa: F401  # whose logging is settled before the terminal is ours

    with speaking_of(config.ingest.noun):
        program.guarded(name, lambda: carried_out(config, asked), program.show_report)


def known_end(asked: unchanged.Question | None) -> tuple[Finished | None, Outcome | None]:
    """The report that there is already, with what is printed of it; None if there is none, or the note about it is none of ours."""
    found = unchanged.finished(asked)
    try:
        return found, None if found is None else TypeAdapter(Outcome).validate_json(json.dumps(found.outcome))
    except ValueError:
        return None, None


def question(config: PipelineConfig) -> unchanged.Question | None:
    """What is asked of the storage; None where a run is looked for elsewhere, or is not carried out in this process."""
    try:
        here = not Execution().elsewhere and "PREFECT_API_URL" not in os.environ
        return unchanged.question(config, storage_root(), os.environ) if here else None
    except BilpError:  # which the pipeline says in its own words
        return None


def told(found: Finished) -> str:
    """The report, after what is said of every pipeline."""
    for line in (*found.lines, "nothing has changed since this was finished: everything is there already"):
        terminal.say(f"          {line}")
    return found.report


def carried_out(config: PipelineConfig, asked: unchanged.Question | None) -> str:
    """The report of the pipeline, which is carried out, and remembered if it can be."""
    from flows.pipeline import pipeline

    with unchanged.remembering(asked, config) as ended:
        report = pipeline(config)
        with suppress(BilpError):  # showing the result says it
            lines = unchanged.lines_of(open_artifact(report.rpartition("/")[0], "report").parents)
            ended.append(Finished(report, tuple(lines), asdict(accuracy_table.outcome(report))))
    return report
