"""python -m flows.experts --dataset digits --method mtt --ipc 1

Train the experts that trajectory matching imitates, once for all real samples and once for the static selection, as the arms
of the comparison need them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from prefect.task_runners import ThreadPoolTaskRunner

from bilp.config import ExpertsConfig, NetworkConfig, PipelineConfig
from bilp.config.arm_entries import ALL_SAMPLES, SAMPLES
from bilp.config.arms import Chosen, needs_experts, needs_selection
from bilp.config.methods import names_of
from bilp.errors import ConfigError
from bilp.preflight import check_choices
from flows import program
from flows.ingest import ingest_with_record
from flows.local.flow import flow
from flows.prune import score_and_prune
from flows.resolved import resolved
from flows.score import score
from flows.selections import selections_of_arms
from flows.units.execute import execute
from flows.units.table import train_expert
from flows.workplace import workplace
from tasks.execution import Execution
from tasks.parameters import DatasetUri, Label, Root
from tasks.stages import collect_experts

ALL = SAMPLES[ALL_SAMPLES].title


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
    if config.curriculum.criterion is not None:
        score(dataset_uri, config.curriculum.score, root)
    shared = {"dataset_uri": dataset_uri, "selection_uri": selection_uri, "config": config, "network": network, "label": label}
    execute(f"train {config.count} experts", [train_expert.call(root, expert=number, **shared) for number in range(config.count)])
    return collect_experts(dataset_uri, selection_uri, config, network, root, label)


def experts_of_arms(
    config: PipelineConfig, dataset_uri: str, selections: Mapping[Chosen, str | None], root: Root = None
) -> dict[Chosen, str]:
    """The buffers that the arms need, of each choice of samples, whose selections are given. Empty for a method without."""
    if not needs_experts(config):
        return {}
    network = config.distill.network
    return {
        chosen: experts(dataset_uri, selection_uri, config.experts, network, root, chosen.label)
        for chosen, selection_uri in selections.items()
    }


def command(config: PipelineConfig) -> dict[Chosen, str]:
    if not needs_experts(config):
        others = " or ".join(f"--method {name}" for name in names_of(lambda method: method.needs_experts))
        raise ConfigError(f"method {config.method} imitates no experts: use {others}")
    dataset, record = ingest_with_record(config.ingest)
    config, _ = resolved(config, dataset)
    check_choices(config, record)
    selection = score_and_prune(config, dataset)[1] if needs_selection(config) else None
    return experts_of_arms(config, dataset, selections_of_arms(config, dataset, selection, record, workplace(None)))


def show(buffers: dict[Chosen, str]) -> None:
    for chosen, uri in buffers.items():
        program.show_uri(f"experts of {chosen.label}", uri)


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, command, show)


if __name__ == "__main__":
    main(sys.argv[1:])
