"""python -m flows.experts --dataset digits --method mtt --ipc 1

Train the experts that trajectory matching imitates, once for all real samples and once for the static selection, as the arms
of the comparison need them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from prefect.task_runners import ThreadPoolTaskRunner

from bilp.config import ExpertsConfig, NetworkConfig, PipelineConfig
from bilp.config.arms import needs_experts, needs_selection, planned_runs
from bilp.config.methods import names_of
from bilp.errors import ConfigError
from flows import program
from flows.ingest import ingest
from flows.local.flow import flow
from flows.prune import score_and_prune
from flows.resolved import resolved
from flows.units.execute import execute
from flows.units.table import train_expert
from flows.workplace import workplace
from tasks.execution import Execution
from tasks.parameters import DatasetUri, Label, Root
from tasks.stages import collect_experts

ALL, SELECTED = "all samples", "the selection"


@flow(
    name="experts",
    flow_run_name="{config.count} experts of {label}",
    task_runner=ThreadPoolTaskRunner(max_workers=Execution().workers),
)
def experts(
    dataset_uri: DatasetUri,
    selection_uri: str | None,
    config: ExpertsConfig,
    network: NetworkConfig,
    root: Root = None,
    label: Label = ALL,
) -> str:
    """The URI of the buffer of experts. Without a selection they learn all real samples.

    Args:
        selection_uri: Samples that the experts learn; if empty, all.
        config: How many experts, and how they are trained.
        network: What is trained.
    """
    root = workplace(root)
    shared = {"dataset_uri": dataset_uri, "selection_uri": selection_uri, "config": config, "network": network, "label": label}
    execute(f"train {config.count} experts", [train_expert.call(root, expert=number, **shared) for number in range(config.count)])
    return collect_experts(dataset_uri, selection_uri, config, network, root, label)


def experts_of_arms(config: PipelineConfig, dataset_uri: str, selection_uri: str | None, root: Root = None) -> dict[bool, str]:
    """The buffers that the arms need: of the selection under True, of all real samples under False. Empty for a method without."""
    if not needs_experts(config):
        return {}
    network = config.distill.network
    return {
        static: experts(dataset_uri, selection_uri if static else None, config.experts, network, root, SELECTED if static else ALL)
        for static in dict.fromkeys(planned.static for planned in planned_runs(config))
    }


def command(config: PipelineConfig) -> dict[bool, str]:
    if not needs_experts(config):
        others = " or ".join(f"--method {name}" for name in names_of(lambda method: method.needs_experts))
        raise ConfigError(f"method {config.method} imitates no experts: use {others}")
    dataset = ingest(config.ingest)
    config, _ = resolved(config, dataset)
    selection = score_and_prune(config, dataset)[1] if needs_selection(config) else None
    return experts_of_arms(config, dataset, selection)


def show(buffers: dict[bool, str]) -> None:
    for static, uri in buffers.items():
        program.show_uri(f"experts of {SELECTED if static else ALL}", uri)


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, command, show)


if __name__ == "__main__":
    main(sys.argv[1:])
