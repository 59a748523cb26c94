"""Which runs a comparison of prunings consists of."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.config.baselines import BASELINES
from bilp.config.criteria import measure_of
from bilp.config.distill import TRAJECTORY_METHODS, DistillConfig
from bilp.config.evaluate import EvaluateConfig
from bilp.config.pipeline import Arm, PipelineConfig
from bilp.config.prune import PruneConfig
from bilp.config.reselect import ReselectConfig

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
    """Every run of every arm. Experiment k of all arms has the seed distill.seed + k, so arms differ in pruning alone.

    Adaptive pruning does not apply to methods that need experts: their arm bilp is static pruning.
    """
    runs = []
    for arm in config.arms:
        static, adaptive = LEVELS[arm]
        reselect = config.reselect if adaptive and not needs_experts(config) else config.reselect.model_copy(update={"beta": 0.0})
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
    return config.labels == "soft" or any(BASELINES[name].covers for name in config.baselines)


def needs_experts(config: PipelineConfig) -> bool:
    """Whether the method imitates experts, which are then trained first."""
    return config.method in TRAJECTORY_METHODS


def adaptive_note(config: PipelineConfig) -> str:
    """A sentence for the reader if an arm's adaptive level does not apply to the method; else empty."""
    if not needs_experts(config) or "bilp" not in config.arms:
        return ""
    return (
        f"Adaptive pruning does not apply to method {config.method}: it meets real samples only through its experts, "
        "so arm bilp prunes statically alone."
    )
