"""Which runs a comparison of prunings consists of."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.config.baselines import BASELINES
from bilp.config.criteria import CRITERIA
from bilp.config.distill import DistillConfig
from bilp.config.evaluate import EvaluateConfig
from bilp.config.methods import METHODS
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

    Adaptive pruning does not apply to methods whose real samples have no effect of their own: their arm bilp is static pruning.
    """
    runs = []
    for arm in config.arms:
        static, adaptive = LEVELS[arm]
        reselect = config.reselect if adaptive and METHODS[config.method].adaptive else config.reselect.model_copy(update={"beta": 0.0})
        for experiment in range(config.experiments):
            distill = config.distill.model_copy(update={"seed": config.distill.seed + experiment})
            runs.append(PlannedRun(arm, experiment, static, distill, reselect))
    return runs


def needs_selection(config: PipelineConfig) -> bool:
    """Whether any arm prunes statically."""
    return any(LEVELS[arm][0] for arm in config.arms)


def needs_scores(prune: PruneConfig) -> bool:
    """Whether the criterion ranks samples by something that has to be measured first."""
    return CRITERIA[prune.criterion].measure is not None and prune.scores is None


def needs_teacher(config: EvaluateConfig) -> bool:
    """Whether any evaluation under these settings asks a network that was trained on all real data."""
    return config.labels == "soft" or any(BASELINES[name].covers for name in config.baselines)


def needs_experts(config: PipelineConfig) -> bool:
    """Whether the method imitates experts, which are then trained first."""
    return METHODS[config.method].needs_experts


def adaptive_note(config: PipelineConfig) -> str:
    """A sentence for the reader if an arm's adaptive level does not apply to the method; else empty."""
    method = METHODS[config.method]
    if method.adaptive or "bilp" not in config.arms:
        return ""
    return f"Adaptive pruning does not apply to method {method.name}: it {method.no_effect}, so arm bilp prunes statically alone."
