"""Tasks of stage experts: independent trainings, then the buffer that names them."""

from __future__ import annotations

from bilp.config import ExpertsConfig, NetworkConfig
from tasks.execution import device
from tasks.progress_bars import progress
from tasks.task import stage


@stage("expert {expert} of {label}")
def train_expert(
    dataset_uri: str, selection_uri: str | None, config: ExpertsConfig, network: NetworkConfig, expert: int, root: str, label: str
) -> str:
    """Train one expert and keep its parameters after every epoch; the expert's URI."""
    from bilp.experts import train_experts as experts

    return experts.train_expert(dataset_uri, selection_uri, config, network, expert, root, device(), progress())


@stage("collect {config.count} experts of {label}")
def collect_experts(
    dataset_uri: str, selection_uri: str | None, config: ExpertsConfig, network: NetworkConfig, root: str, label: str
) -> str:
    """Name the experts that belong together; the buffer's URI."""
    from bilp.experts import train_experts as experts

    return experts.collect_experts(dataset_uri, selection_uri, config, network, root)
