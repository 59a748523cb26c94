"""Experts that are trained in a fraction of a second, and runs that imitate them."""

from __future__ import annotations

from tiny_distillation import NARROW, Store, spelled_out

from bilp.config import DistillConfig, ExpertsConfig, NetworkConfig, TrajectoryConfig
from bilp.experts.train_experts import collect_experts, train_expert

EXPERTS = ExpertsConfig(count=2, epochs=4, batch_size=32, learning_rate=0.1, augment=("color", "crop", "cutout", "scale", "rotate"))


def experts(store: Store, selection: str | None, config: ExpertsConfig = EXPERTS, network: NetworkConfig = NARROW) -> str:
    """The buffer of experts on a selection, in the store's root."""
    for number in range(config.count):
        train_expert(store.uri, selection, config, network, number, store.root)
    return collect_experts(store.uri, selection, config, network, store.root)


def trajectory_config(method: str, trajectory: dict[str, object] | None = None, **changes: object) -> DistillConfig:
    """Four iterations in two rounds of three steps each."""
    settings = {"steps": 3, "expert_epochs": 1, "max_start": 3, "step_size": 0.1, "step_rate": 1e-3} | (trajectory or {})
    values: dict[str, object] = {"method": method, "iterations": 4, "rounds": 2, "network": NARROW, "learning_rate": 10.0}
    values |= {"augment": EXPERTS.augment, "trajectory": TrajectoryConfig.model_validate(settings)}
    return spelled_out(values | changes)
