"""What the runs of a page were made with: experts, networks trained beforehand, teachers, rankings and sets, each named once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.facts import BufferFacts, PretrainedFacts, TeacherFacts
from bilp.artifacts.run_layout import SYNTHETIC, synthetic_uri
from bilp.config.arm_entries import ARMS
from bilp.distill.step.pretrained import KIND as PRETRAINED
from bilp.experts.files import BUFFER as EXPERT_BUFFER
from bilp.pruning.prune import KIND as SELECTION
from bilp.teachers.stored_teacher import KIND as TEACHER
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class ReportedArtifact:
    """An artifact that the page rests on; `role` is unique, `stage` says to a reader what it is."""

    role: str
    stage: str
    artifact: Artifact


@dataclass(frozen=True)
class RunSource:
    """A finished run: experiment number `experiment` of an arm."""

    arm: str
    experiment: int
    uri: str


@dataclass(frozen=True)
class _Trained:
    """A kind of network that is trained before runs, on real samples: the role of a parent, its artifact, and what a reader is told."""

    role: str
    kind: str
    facts: type[BufferFacts] | type[PretrainedFacts] | type[TeacherFacts]
    told: Callable[[Any, str], str]
    """Of facts, and what was learned in words."""


_TRAINED = (
    _Trained("experts", EXPERT_BUFFER, BufferFacts, lambda facts, learned: f"{facts.count} experts of {learned}"),
    _Trained("pretrained network", PRETRAINED, PretrainedFacts, lambda _, learned: f"Network trained beforehand on {learned}"),
    _Trained("teacher", TEACHER, TeacherFacts, lambda _, learned: f"Teacher of {learned}"),
)


def run_parents(runs: Sequence[RunSource], several: bool) -> list[ReportedArtifact]:
    """What the synthetic sets of these runs name as their parents beside the data set and its selection, each once.

    `several` says whether arms have several experiments, each of which may have samples of its own.
    """
    sources = []
    for kind in _TRAINED:
        for number, (uri, run) in enumerate(_shared(runs, kind.role).items()):
            artifact = open_artifact(uri, kind.kind)
            facts = artifact.stated(kind.facts)
            told = kind.told(facts, _learned(facts.selection, run, several))
            sources.append(ReportedArtifact(f"{kind.role} {number}", told, artifact))
    return [*sources, *_ranked_sources(runs)]


def _shared(runs: Sequence[RunSource], role: str) -> dict[str, RunSource]:
    """URIs of the parents of the runs' sets whose role begins so, each with the first run that it served."""
    found: dict[str, RunSource] = {}
    for run in runs:
        for name, uri in open_artifact(synthetic_uri(run.uri), SYNTHETIC).parents.items():
            if name.startswith(role):
                found.setdefault(uri, run)
    return found


def _learned(selection: str | None, run: RunSource, several: bool) -> str:
    """What a network of a run learned, in words: all real images, or those of the run's arm.

    Args:
        selection: Key of these; None for all.
        run: The first that it served.
        several: Whether arms have several experiments, each of which may have samples of its own.
    """
    if selection is None:
        return spoken("all real images")
    if run.arm not in ARMS:
        return "the selection"
    choice = ARMS[run.arm].choice
    return f"{choice.title}, experiment {run.experiment + 1}" if choice.redrawn and several else choice.title


def _ranked_sources(runs: Sequence[RunSource]) -> list[ReportedArtifact]:
    """What said how hard the real samples of the runs are, and the sets that they start from, each once."""
    synthetic = [open_artifact(synthetic_uri(run.uri), SYNTHETIC) for run in runs]
    sources = []
    for role, kind, title in (("ranking", SELECTION, "Ranking of all real images"), ("start", SYNTHETIC, "Set of the beginning")):
        uris = dict.fromkeys(uri for artifact in synthetic if (uri := artifact.parents.get(role)))
        sources += [ReportedArtifact(f"{role} {number}", title, open_artifact(uri, kind)) for number, uri in enumerate(uris)]
    return sources
