"""What the set of a method that learns soft labels holds beside its images: these labels, exactly."""

from __future__ import annotations

from typing import Any

from bilp.artifacts.publication import Content
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.datm import LABELS
from bilp.distill.soft_labels import exact_labels, label_content
from bilp.distill.step.state import DistillState


def product(state: DistillState, config: DistillConfig, pool: RealPool) -> tuple[dict[str, Content], dict[str, Any]]:
    """Files by name, and facts, that a synthetic set has beside those of every method.

    Args:
        state: after the last iteration.
        config: settings of the run.
        pool: its real samples.
    """
    return label_content(*exact_labels(state.method[LABELS]))
