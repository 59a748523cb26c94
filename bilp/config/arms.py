"""Which runs a comparison of prunings consists of."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.config import reselectable
from bilp.config.arm_entries import ALL_SAMPLES, ARMS, SAMPLES, Arm, ArmEntry, SamplesEntry
from bilp.config.baselines import BASELINES
from bilp.config.criteria import CRITERIA
from bilp.config.distill import DistillConfig
from bilp.config.evaluate import EvaluateConfig
from bilp.config.methods import METHODS
from bilp.config.pipeline import PipelineConfig
from bilp.config.prune import PruneConfig
from bilp.config.reselect import ReselectConfig


@dataclass(frozen=True)
class Chosen:
    """Real samples that take part in runs: their entry in SAMPLES, and the seed of their draw, if they are drawn."""

    samples: str
    seed: int = 0

    @property
    def entry(self) -> SamplesEntry:
        """Of the samples."""
        return SAMPLES[self.samples]

    @property
    def label(self) -> str:
        """What displays call them."""
        return self.entry.title + (f" (seed {self.seed})" if self.entry.redrawn else "")


@dataclass(frozen=True)
class PlannedRun:
    """One distillation of one arm."""

    arm: Arm
    experiment: int
    chosen: Chosen
    """The real samples that take part."""
    distill: DistillConfig
    reselect: ReselectConfig

    @property
    def asks_teacher(self) -> bool:
        """Whether it asks a teacher."""
        return reselectable.asks_teacher(self.distill, self.reselect)

    @property
    def asks_ranking(self) -> bool:
        """Whether it asks how hard real samples are."""
        return reselectable.asks_ranking(self.distill, self.reselect)

    @property
    def static(self) -> bool:
        """Whether real samples come from the static selection only."""
        return self.chosen.entry.static


def planned_runs(config: PipelineConfig) -> list[PlannedRun]:
    """Every run of every arm that distills. Experiment k of all arms has the seed distill.seed + k, so arms differ in pruning alone.

    Adaptive pruning does not apply to methods whose real samples have no effect of their own: their arm bilp is static pruning.
    Samples that are drawn at random are drawn anew for each experiment, from prune.seed + k.
    """
    runs = []
    for arm in distilled_arms(config):
        entry = ARMS[arm]
        adaptive = entry.adaptive and METHODS[config.method].adaptive
        reselect = config.reselect if adaptive else config.reselect.model_copy(update={"beta": 0.0})
        for experiment in range(config.experiments):
            distill = config.distill.model_copy(update={"seed": config.distill.seed + experiment})
            seed = config.prune.seed + experiment if entry.choice.redrawn else 0
            runs.append(PlannedRun(arm, experiment, Chosen(entry.samples, seed), distill, reselect))
    return runs


def distilled_arms(config: PipelineConfig) -> list[str]:
    """The arms that have synthetic sets, in the order given."""
    return [arm for arm in config.arms if ARMS[arm].distills]


def evaluation_of(config: PipelineConfig) -> EvaluateConfig:
    """The settings of the evaluation, in which the arms that distill nothing stand among the baselines: networks learn real images."""
    undistilled = [arm for arm in config.arms if not ARMS[arm].distills and arm not in config.evaluate.baselines]
    return config.evaluate.model_copy(update={"baselines": (*config.evaluate.baselines, *undistilled)})


def arm_of(static: bool, adaptive: bool) -> Arm:
    """The arm that prunes so."""

    def prunes_so(entry: ArmEntry) -> bool:
        return entry.distills and entry.choice.static == static and entry.choice.after_static == static and entry.adaptive == adaptive

    return next(name for name, entry in ARMS.items() if prunes_so(entry))


def needs_selection(config: PipelineConfig) -> bool:
    """Whether any arm or baseline needs the static selection."""
    return any(ARMS[arm].choice.after_static for arm in config.arms) or baselines_need_selection(evaluation_of(config))


def ranks_samples(config: PipelineConfig) -> bool:
    """Whether samples are ranked by the criterion of static pruning, for the selection or for distillation."""
    return needs_selection(config) or runs_ask_ranking(config)


def runs_ask_ranking(config: PipelineConfig) -> bool:
    """Whether any run asks how hard real samples are."""
    return any(run.asks_ranking for run in planned_runs(config))


def baselines_need_selection(config: EvaluateConfig) -> bool:
    """Whether any of the baselines does."""
    return any(BASELINES[name].selected for name in config.baselines)


def needs_scores(prune: PruneConfig) -> bool:
    """Whether the criterion ranks samples by something that has to be measured first."""
    return CRITERIA[prune.criterion].measure is not None and prune.scores is None


def needs_teacher(config: EvaluateConfig) -> bool:
    """Whether any evaluation under these settings asks a network that was trained on all real data."""
    taught = config.taught or (config.of_real().taught and bool(config.baselines))
    probed = config.linear_probe and config.encoder.name is None
    return taught or probed or any(BASELINES[name].covers for name in config.baselines)


def asks_teacher(config: PipelineConfig) -> bool:
    """Whether a run or any evaluation asks that network."""
    return any(run.asks_teacher for run in planned_runs(config)) or needs_teacher(evaluation_of(config))


def teacher_learns(config: PipelineConfig, chosen: Chosen) -> Chosen:
    """What the teacher of a run of these samples learned; one from a file, which learned elsewhere, is the same for all runs."""
    return chosen if config.distill.pruned_teacher and not config.evaluate.teacher.supplied else Chosen(ALL_SAMPLES)


def samples_of_teachers(config: PipelineConfig) -> list[Chosen]:
    """What the teachers of a pipeline learn, one each: of the runs that ask one, and for evaluations all samples."""
    learned = dict.fromkeys(teacher_learns(config, run.chosen) for run in planned_runs(config) if run.asks_teacher)
    if needs_teacher(evaluation_of(config)):
        learned[Chosen(ALL_SAMPLES)] = None
    return list(learned)


def needs_experts(config: PipelineConfig) -> bool:
    """Whether the method imitates experts, which are then trained first."""
    return METHODS[config.method].needs_experts


def pruning_note(config: PipelineConfig) -> str:
    """Sentences for the reader if a level of some arm does not apply to the method; else empty."""
    return " ".join(note for note in (_adaptive_note(config), _static_note(config)) if note)


def _static_note(config: PipelineConfig) -> str:
    """No iteration looks at a real sample, none is an initial image, and no teacher learned what an arm keeps."""
    method, distill = METHODS[config.method], config.distill
    taught = {teacher_learns(config, run.chosen) for run in planned_runs(config)} != {Chosen(ALL_SAMPLES)}
    if method.looked_at(distill) or distill.init != "noise" or taught or not any(ARMS[arm].compared for arm in config.arms):
        return ""
    return (
        f"No choice of real images changes a set of method {method.name} that begins with noise, as all arms have one teacher: the "
        "sets of all arms are equal."
    )


def _adaptive_note(config: PipelineConfig) -> str:
    method = METHODS[config.method]
    reduced = next((arm for arm in config.arms if ARMS[arm].adaptive and ARMS[arm].otherwise is not None), None)
    if method.adaptive or reduced is None:
        return ""
    return f"Adaptive pruning does not apply to method {method.name}: it {method.no_effect}, so arm {reduced} prunes statically alone."
