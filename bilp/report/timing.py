"""Part of the provenance: how long each stage worked, as far as its manifests tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bilp.artifacts.artifact import Artifact, find
from bilp.artifacts.duration import SECONDS
from bilp.artifacts.run_layout import RESELECT, ROUND, reselect_uri, round_uri
from bilp.distill import open_run
from bilp.experts.files import EXPERT
from bilp.report.planned import Lookup, Planned
from bilp.report.run_parents import ReportedArtifact, RunSource
from bilp.report.wording import count
from bilp.scoring.trial_record import TRIAL


@dataclass(frozen=True)
class StageTime:
    """The work of one stage; `lacking` says of how many of its parts the time is not known."""

    stage: str
    time: str
    parts: str
    lacking: str
    planned: str = ""
    """How long a plan says; empty where none tells it."""
    passes: str = ""
    """Passes of a sample through a network, as planned."""
    device: str = ""
    """Whose speed the plan assumes."""


def stage_times(sources: Sequence[ReportedArtifact], runs: Sequence[RunSource], planned: Lookup | None = None) -> list[StageTime]:
    """In the order of the pipeline; empty where no time is known at all. `planned` tells what a plan says."""
    of_run = {f"synthetic {run.arm} {run.experiment}": run for run in runs}
    rows = []
    for source in sources:
        parts = [source.artifact, *_inner(source, of_run.get(source.role))]
        known = [float(seconds) for part in parts if (seconds := part.manifest.provenance.get(SECONDS)) is not None]
        lacking = len(parts) - len(known)
        shown = duration(sum(known)) if known else "not recorded"
        row = StageTime(source.stage, shown, count(len(parts), "artifact"), f"{lacking} not recorded" if known and lacking else "")
        rows.append(row if planned is None else _beside(row, planned(source, parts)))
    return rows if any(row.time != "not recorded" for row in rows) else []


def _beside(row: StageTime, planned: Planned | None) -> StageTime:
    """A row with what was planned."""
    if planned is None:
        return row
    time = f"{duration(planned.seconds)} or more" if planned.least else duration(planned.seconds)
    return replace(row, planned=time, passes=f"{planned.passes:,}" if planned.passes else "", device=planned.device)


def seconds_of(source: ReportedArtifact, runs: Sequence[RunSource]) -> float:
    """Seconds of work on an artifact and on those that were made on the way to it, as far as they are known."""
    of_run = {f"synthetic {run.arm} {run.experiment}": run for run in runs}
    parts = [source.artifact, *_inner(source, of_run.get(source.role))]
    return sum(float(seconds) for part in parts if (seconds := part.manifest.provenance.get(SECONDS)) is not None)


def _inner(source: ReportedArtifact, run: RunSource | None) -> Iterator[Artifact]:
    """The artifacts that a stage made on the way to its result: trials of scores, experts, rounds of a distillation."""
    if source.role == "scores":
        yield from score_parts(source.artifact)
    if source.role.startswith("experts "):
        yield from expert_parts(source.artifact)
    if run is not None:
        yield from run_parts(run.uri)


def score_parts(scores: Artifact) -> Iterator[Artifact]:
    """The trials that a summary of scores was made of."""
    for uri in dict.fromkeys(scores.parents.values()):
        trial = find(uri, TRIAL) if "/trials/" in uri else None
        if trial is not None:
            yield trial


def expert_parts(buffer: Artifact) -> Iterator[Artifact]:
    """The experts of a buffer that are there."""
    for role, uri in buffer.parents.items():
        expert = find(uri, EXPERT) if role.startswith("expert ") else None
        if expert is not None:
            yield expert


def run_parts(run_uri: str) -> Iterator[Artifact]:
    """The rounds of a run that are there, and what was measured before each."""
    for number in range(1, open_run(run_uri).distill.rounds + 1):
        for artifact in (find(reselect_uri(run_uri, number), RESELECT), find(round_uri(run_uri, number), ROUND)):
            if artifact is not None:
                yield artifact


def duration(seconds: float) -> str:
    """'0.4 s', '3 min 20 s', '2 h 5 min'."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
