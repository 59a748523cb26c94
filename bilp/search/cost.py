"""What a search costs: stated beforehand in trainings and in images that pass a network, told afterwards in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bilp.artifacts.artifact import Artifact, find
from bilp.artifacts.duration import SECONDS
from bilp.artifacts.run_layout import RESELECT, ROUND, reselect_uri, round_uri
from bilp.config import DistillConfig, EvaluateConfig, PipelineConfig
from bilp.config.arms import needs_scores, planned_runs
from bilp.search.candidates import Plan
from bilp.text.sample_words import spoken


@dataclass(frozen=True)
class Cost:
    """An amount of work."""

    distillations: int
    trainings: int
    """Networks that are trained on synthetic sets."""
    passes: int
    """Images, each time one passes a network that is trained or matched: of scoring, distilling and evaluating."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.distillations + other.distillations, self.trainings + other.trainings, self.passes + other.passes)


def of_search(found: Plan, config: PipelineConfig, classes: int, images: int) -> Cost:
    """Of a search on so many training images of so many classes, at most: what two candidates have in common is computed once.

    Measuring effects, and the training of networks while distilling, are not counted.
    """
    grid = config.search
    scored = _scoring(config, round((1 - grid.held_out) * images)) if found.static else 0
    total = Cost(0, 0, scored)
    for rung in found.rungs:
        runs = min(rung.candidates + (rung.number > 1), len(found.candidates)) * grid.distillations
        distill = found.distill.model_copy(update={"iterations": rung.iterations})
        total += Cost(
            runs, runs * grid.trainings, runs * (_distilling(distill, classes) + _evaluating(found.evaluate, config.ipc, classes))
        )
    return total


def of_pipeline(config: PipelineConfig, classes: int, images: int) -> Cost:
    """Of the rest of the pipeline, counted likewise; baselines are left out."""
    runs = planned_runs(config)
    trainings = config.evaluate.seeds * len(config.evaluate.networks)
    scored = _scoring(config, images) if any(run.static for run in runs) else 0
    evaluated = len(config.evaluate.networks) * _evaluating(config.evaluate, config.ipc, classes)
    return Cost(len(runs), len(runs) * trainings, scored + sum(_distilling(run.distill, classes) + evaluated for run in runs))


def stated(found: Plan, config: PipelineConfig, classes: int, images: int) -> str:
    """The cost in a sentence, before anything is done."""
    mine, rest = of_search(found, config, classes, images), of_pipeline(config, classes, images)
    share = mine.passes / rest.passes
    return (
        f"the search tries {len(found.candidates)} candidates in {len(found.rungs)} rungs: at most {mine.distillations} short "
        f"distillations by {found.distill.method} and {mine.trainings} trainings, {mine.passes / 1e6:.3g} million "
        f"{spoken('images')} through networks, "
        f"{100 * share:.0f} % of what the rest of the run takes"
    )


def seconds(artifacts: Sequence[Artifact], runs: Sequence[str]) -> float:
    """Seconds of work that artifacts and the rounds of runs tell of themselves."""
    rounds = [find(uri, kind) for run in runs for uri, kind in ((round_uri(run, 1), ROUND), (reselect_uri(run, 1), RESELECT))]
    told = [artifact.manifest.provenance.get(SECONDS) for artifact in (*artifacts, *rounds) if artifact is not None]
    return sum(float(value) for value in told if value is not None)


def _scoring(config: PipelineConfig, images: int) -> int:
    return config.score.trials * config.score.epochs * images if needs_scores(config.prune) else 0


def _distilling(distill: DistillConfig, classes: int) -> int:
    return distill.iterations * distill.outer_loops * classes * (distill.batch_real + distill.ipc)


def _evaluating(evaluate: EvaluateConfig, ipc: int, classes: int) -> int:
    return evaluate.seeds * evaluate.epochs * ipc * classes
