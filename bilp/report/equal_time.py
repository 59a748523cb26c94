"""Section: what the unpruned arm could do in the time that a pruned one takes, and the command that lets it.

Times are measured, so that two runs of one configuration tell different ones. A comparison at equal time therefore has two steps: a
finished run tells a number of iterations, and another run is given that number as a setting. Its results are keyed by it, and by no time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.duration import SECONDS
from bilp.config import PipelineConfig
from bilp.config.arm_entries import ARMS, UNPRUNED, leading
from bilp.report.run_parents import ReportedArtifact, RunSource
from bilp.report.settings import rerun_command
from bilp.report.timing import duration, run_parts, score_parts
from bilp.report.wording import ArmWords, arm_words


@dataclass(frozen=True)
class Pace:
    """What an arm takes for a distillation, and the iterations of the unpruned arm that take as long."""

    words: ArmWords
    distilling: str
    scoring: str
    ratio: float
    iterations: int
    command: str
    leading: bool
    """Whether the page is about this arm."""


@dataclass(frozen=True)
class Seconds:
    """Work that was measured: of the scoring, if there is one, and of one distillation of each arm, on average over its experiments."""

    scoring: float | None
    arms: Mapping[str, float]


def measured(sources: Sequence[ReportedArtifact], runs: Sequence[RunSource]) -> Seconds | None:
    """The seconds that manifests tell; None where those of a part are not recorded, as those of arms that were evaluated elsewhere."""
    by_arm: dict[str, list[float | None]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, []).append(_sum(list(run_parts(run.uri))))
    scores = next((source.artifact for source in sources if source.role == "scores"), None)
    scoring = None if scores is None else _sum([scores, *score_parts(scores)])
    known = {arm: [value for value in values if value is not None] for arm, values in by_arm.items()}
    if (scores is not None and scoring is None) or any(len(known[arm]) < len(by_arm[arm]) for arm in by_arm):
        return None
    return Seconds(scoring, {arm: fmean(values) for arm, values in known.items()})


def paces(config: PipelineConfig, seconds: Seconds | None) -> list[Pace]:
    """One for each arm that is compared with the unpruned one; empty without that arm, or where times are not known.

    An arm whose samples are chosen by the scoring pays for all of it: n iterations of the unpruned arm take as long as its own and the
    scoring together, if time grows with the number of iterations.
    """
    unpruned = seconds.arms.get(UNPRUNED) if seconds is not None else None
    if seconds is None or not unpruned:
        return []
    found = []
    for arm, own in seconds.arms.items():
        if arm not in ARMS or not ARMS[arm].compared:
            continue
        scoring = seconds.scoring if ARMS[arm].choice.static and seconds.scoring is not None else 0.0
        ratio = (own + scoring) / unpruned
        iterations = max(1, round(config.distill.iterations * ratio))
        changed = config.distill.model_copy(update={"iterations": iterations})
        command = rerun_command(config.model_copy(update={"arms": (UNPRUNED,), "distill": changed}))
        found.append(
            Pace(
                arm_words(arm),
                duration(own),
                duration(scoring) if scoring else "",
                ratio,
                iterations,
                command,
                arm == leading(seconds.arms),
            )
        )
    return found


def _sum(parts: Sequence[Artifact]) -> float | None:
    """Seconds of all parts; None if those of one are not known, or if there is none."""
    told = [part.manifest.provenance.get(SECONDS) for part in parts]
    known = [float(seconds) for seconds in told if seconds is not None]
    return sum(known) if known and len(known) == len(told) else None
