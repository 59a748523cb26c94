"""What the set of a method that inverts a teacher holds beside its images: the teacher's answers to them."""

from __future__ import annotations

from typing import Any

from bilp.artifacts.publication import Content
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.inversion import LOGITS
from bilp.distill.soft_labels import teacher_files
from bilp.distill.step.state import DistillState
from bilp.errors import DamagedArtifact


def product(state: DistillState, config: DistillConfig, pool: RealPool) -> tuple[dict[str, Content], dict[str, Any]]:
    """Files by name, and facts, that a synthetic set has beside those of every method.

    Raises DamagedArtifact for a state without the teacher's answers.

    Args:
        state: after the last iteration.
        config: settings of the run.
        pool: its real samples.
    """
    if config.inversion.soft_labels == "none":
        return {}, {}
    if LOGITS not in state.method:
        raise DamagedArtifact("the state of the last round holds no answers of the teacher: run that round again")
    return teacher_files(state.method[LOGITS], config.inversion)
