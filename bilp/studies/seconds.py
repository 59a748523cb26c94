"""How long stages worked, as far as the manifests of their artifacts tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.duration import SECONDS
from bilp.artifacts.run_layout import RESELECT, ROUND, reselect_uri, round_uri
from bilp.distill import open_run
from bilp.scoring.summary import KIND as SUMMARY
from bilp.scoring.trial_record import TRIAL


def seconds_of_scores(uri: str) -> float | None:
    """Of the trials of a summary; None if none of them tells."""
    trials = (find(parent, TRIAL) for parent in open_artifact(uri, SUMMARY).parents.values() if "/trials/" in parent)
    return _sum(trial for trial in trials if trial is not None)


def seconds_of_run(uri: str) -> float | None:
    """Of the rounds of a distillation, and of the reselections before them; None if none of them tells."""
    return _sum(_rounds(uri))


def _rounds(uri: str) -> Iterator[Artifact]:
    for number in range(1, open_run(uri).distill.rounds + 1):
        for artifact in (find(reselect_uri(uri, number), RESELECT), find(round_uri(uri, number), ROUND)):
            if artifact is not None:
                yield artifact


def _sum(artifacts: Iterable[Artifact]) -> float | None:
    known = [float(seconds) for artifact in artifacts if (seconds := artifact.manifest.provenance.get(SECONDS)) is not None]
    return sum(known) if known else None
