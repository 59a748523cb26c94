"""Part of the provenance: what a plan of the same settings says of each stage, for the kind of device that computed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import BufferFacts, DatasetFacts, EvaluationFacts, PretrainedFacts, SelectionFacts
from bilp.config import PipelineConfig
from bilp.config.arms import planned_runs, samples_of_teachers, teacher_learns
from bilp.costs.gpu_profiles import profile_of
from bilp.costs.run_plan import Plan, plan_of
from bilp.costs.speed import Speed
from bilp.costs.stored_counts import stored_counts
from bilp.costs.work import TRAINING, Unit, Work
from bilp.errors import BilpError
from bilp.report.run_parents import ReportedArtifact


@dataclass(frozen=True)
class Planned:
    """Of one artifact and what was made on the way to it."""

    seconds: float
    passes: int
    """Passes of a sample through a network."""
    least: bool
    """Whether a rule of the method ends the work, of which this is the least."""
    device: str
    """Whose speed is assumed."""


Lookup = Callable[[ReportedArtifact, Sequence[Artifact]], Planned | None]
"""From an artifact and all that its stage made to what was planned; None where no plan tells it."""


def planner(config: PipelineConfig, sources: Sequence[ReportedArtifact]) -> Lookup:
    """What `bilp plan` says of each artifact of a pipeline with these settings and this data set."""
    by_role = {source.role: source.artifact for source in sources}
    if "dataset" not in by_role:
        return lambda source, parts: None
    data = stored_counts(by_role["dataset"].stated(DatasetFacts), config.dataset)
    found = by_role.get("selection")
    if found is not None and isinstance(config.keep, str):
        config = config.model_copy(update={"keep": found.stated(SelectionFacts).keep})

    @cache
    def plan_for(model: str) -> Plan | None:
        try:
            return plan_of(config, data, Speed(profile_of(model), data), 1)
        except BilpError:  # settings that a plan cannot be made of are no reason to have no page
            return None

    def lookup(source: ReportedArtifact, parts: Sequence[Artifact]) -> Planned | None:
        told = (part.manifest.provenance.get("device") for part in parts)
        plan = plan_for(next((str(model) for model in told if model), "cpu"))
        units = [] if plan is None else _units_of(plan, source, sources)
        if plan is None or not units or any(unit.unknown for unit in units):
            return None
        passes = sum(unit.passes for unit in units)
        least = any(unit.most_seconds is not None for unit in units)
        return Planned(sum(unit.seconds for unit in units), passes, least, plan.speed.profile.title)

    return lookup


def _units_of(plan: Plan, source: ReportedArtifact, sources: Sequence[ReportedArtifact]) -> list[Unit]:
    """The units of a plan that an artifact is the result of, one of `sources`."""
    word, _, rest = source.role.partition(" ")
    if word in _STAGES:
        return [unit for stage in _STAGES[word] for unit in plan.stages.get(stage, [])]
    if word == "synthetic":
        return _share(plan, "distill", [(run.arm, run.experiment) for run in planned_runs(plan.config)], rest)
    if word == "evaluation":
        facts = source.artifact.stated(EvaluationFacts)
        runs = [run for run in planned_runs(plan.config) if run.arm == facts.arm]
        own = [unit for unit in plan.stages.get("evaluate", []) if unit.name == facts.arm]
        return own[: len(own) // max(1, len(runs))]
    if word == "teacher":
        return _trainings_of_teacher(plan, source, sources)
    config = plan.config
    if word == "experts":
        buffer = source.artifact.stated(BufferFacts)
        return [_trained(plan, "experts", config.experts.gpu, buffer.epochs * buffer.samples)] * buffer.count
    if word == "pretrained":
        samples = source.artifact.stated(PretrainedFacts).samples
        return [_trained(plan, "pretrain", config.distill.gpu, config.distill.pretrained.epochs * samples)]
    return []


_STAGES = {"dataset": ("ingest", "join"), "scores": ("score",)}


def _share(plan: Plan, stage: str, runs: Sequence[tuple[str, int]], rest: str) -> list[Unit]:
    """The units of the run of an arm and experiment, as `rest` of a role names it; all runs have equally many."""
    arm, _, experiment = rest.rpartition(" ")
    units = plan.stages.get(stage, [])
    each, known = len(units) // max(1, len(runs)), (arm, int(experiment)) if experiment.isdigit() else None
    place = runs.index(known) if known in runs else None
    return [] if place is None else units[place * each : (place + 1) * each]


def _trainings_of_teacher(plan: Plan, teacher: ReportedArtifact, sources: Sequence[ReportedArtifact]) -> list[Unit]:
    """Its training on the samples of the runs that asked it; none of one from a file."""
    config = plan.config
    if config.evaluate.teacher.supplied:
        return []
    asking = {source.role for source in sources if source.artifact.parents.get("teacher") == teacher.artifact.uri}
    learned = {teacher_learns(config, run.chosen) for run in planned_runs(config) if f"synthetic {run.arm} {run.experiment}" in asking}
    trainings = [unit for unit in plan.stages.get("evaluate", []) if unit.name == "teacher"]
    return [unit for samples, unit in zip(samples_of_teachers(config), trainings, strict=True) if samples in learned]


def _trained(plan: Plan, stage: str, arithmetic: str, samples: int) -> Unit:
    """One network that is trained on so many samples, one after the other."""
    network = plan.speed.network(plan.config.distill.network)
    return plan.speed.unit(stage, stage, network, arithmetic, [Work("trained", samples, TRAINING)], 0)
