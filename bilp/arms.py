"""Which runs a comparison of prunings consists of."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.config import Arm, DistillConfig, EvaluateConfig, PipelineConfig, PruneConfig, ReselectConfig
from bilp.criterion_facts import measure_of

# BiLP prunes on two levels; an arm switches each on or off: (static selection, adaptive reselection).
LEVELS: dict[Arm, tuple[bool, bool]] = {
    "unpruned": (False, False),
    "static": (True, False),
    "adaptive": (False, True),
    "bilp": (True, True),
}


@dataclass(frozen=True)
class PlannedRun:
    """One distillation of one arm."""

    arm: Arm
    experiment: int
    static: bool
    """Whether real samples come from the static selection only."""
    distill: DistillConfig
    reselect: ReselectConfig


def planned_runs(config: PipelineConfig) -> list[PlannedRun]:
    """Every run of every arm. Experiment k of all arms has the seed distill.seed + k, so arms differ in pruning alone."""
    runs = []
    for arm in config.arms:
        static, adaptive = LEVELS[arm]
        reselect = config.reselect if adaptive else config.reselect.model_copy(update={"beta": 0.0})
        for experiment in range(config.experiments):
            distill = config.distill.model_copy(update={"seed": config.distill.seed + experiment})
            runs.append(PlannedRun(arm, experiment, static, distill, reselect))
    return runs


def needs_selection(config: PipelineConfig) -> bool:
    """Whether any arm prunes statically."""
    return any(LEVELS[arm][0] for arm in config.arms)


def needs_scores(prune: PruneConfig) -> bool:
    """Whether the criterion ranks samples by something that has to be measured first."""
    return measure_of(prune.criterion) is not None


def needs_teacher(config: EvaluateConfig) -> bool:
    """Whether any evaluation under these settings asks a network that was trained on all real data."""
    return config.labels == "soft" or not {"herding", "k_center"}.isdisjoint(config.baselines)
