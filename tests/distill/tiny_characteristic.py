"""NCFM at a size that distills in a fraction of a second."""

from __future__ import annotations

from typing import Any

from tiny_distillation import assemble, guard_for, spelled_out
from torch import Tensor

from bilp.config import DistillConfig, NetworkConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.ncfm import distill
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.state import DistillState

PRETRAINED = {"networks": 2, "epochs": 3, "learning_rate": 0.05, "batch_size": 32, "decay_at": [0.5], "decay_factor": 0.2}


def config_of(**changes: Any) -> DistillConfig:
    """Width 8, depth 2, 32 frequencies; four iterations in two rounds on random networks, without pretrained ones."""
    own = {"frequencies": 32, **changes.pop("characteristic", {})}
    values: dict[str, Any] = {"method": "ncfm", "iterations": 4, "rounds": 2, "batch_real": 6, "learning_rate": 0.01}
    values |= {"network": NetworkConfig(width=8, depth=2), "augment": ("color", "crop", "cutout"), "decode": {"factor": 2}, "ipc": 1}
    return spelled_out(values | changes | {"characteristic": own})


def run_of(config: DistillConfig, pool: RealPool, iterations: int) -> tuple[DistillState, list[Record]]:
    setting = assemble(config, pool)
    state = initial_state(config, pool)
    return state, distill(setting, state, iterations, None, guard_for(setting))


def assert_same_images(found: Tensor, slow: Tensor, before: Tensor) -> None:
    """Up to rounding, which AdamW makes whole steps of where a pixel's gradient is no more than that: in at most a tenth of the pixels."""
    moved, apart = (slow - before).abs().mean(), (found - slow).abs()
    assert float(moved) > 0
    assert float(apart.flatten().quantile(0.9)) < 1e-2 * float(moved)
    assert float(apart.norm()) < 4e-2 * float((slow - before).norm())


def with_networks(**changes: Any) -> DistillConfig:
    return config_of(**changes, characteristic={"pretrained": PRETRAINED, "patience": 2})
