"""python -m flows.distill --dataset digits --method dm --ipc 1

Distill a synthetic set for every arm of the comparison; selections that its arms need are made first.
"""

from __future__ import annotations

from collections.abc import Sequence

from bilp.config import DistillConfig, PipelineConfig, ReselectConfig
from bilp.config.arms import PlannedRun, adaptive_note, needs_selection, planned_runs
from bilp.storage.objects import join
from flows import program
from flows.experts import experts_of_arms
from flows.ingest import ingest
from flows.local.flow import flow
from flows.prune import score_and_prune
from flows.rounds import go_through
from flows.units import dispatch
from flows.workplace import Root, workplace
from tasks import terminal
from tasks.distill import SYNTHETIC, start_run, went_through


@flow(name="distill", flow_run_name="distill {label} by {config.method}, ipc {config.ipc}")
def distill(
    dataset_uri: str,
    selection_uri: str | None,
    config: DistillConfig,
    reselect: ReselectConfig,
    root: Root | None = None,
    label: str = "run",
    experts_uri: str | None = None,
) -> str:
    """The URI of the run, in which the synthetic set lies. Without a selection, all real samples take part.

    Methods mtt and tesla need the buffer of experts that learned the same samples.

    Args:
        dataset_uri: The dataset, as ingest published it.
        selection_uri: Samples that take part; if empty, all.
        config: Method, images per class, iterations and rounds.
        reselect: Adaptive pruning; beta 0 switches it off.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
        label: What people read.
        experts_uri: The buffer of experts, for mtt and tesla.
    """
    run = start_run(dataset_uri, selection_uri, config, reselect, workplace(root), label, experts_uri)
    go_through(run, config, reselect.beta > 0, label)
    return run


def distill_arms(config: PipelineConfig, dataset_uri: str, selection_uri: str | None, root: Root | None = None) -> dict[str, list[str]]:
    """The URIs of the runs of each arm, one for each experiment."""
    runs: dict[str, list[str]] = {arm: [] for arm in config.arms}
    note = adaptive_note(config)
    if note:
        terminal.say(f"          {note}")
    experts = experts_of_arms(config, dataset_uri, selection_uri, root)
    begin = distill if dispatch.here() else start_run  # elsewhere, all runs are registered and then carried out side by side
    root = workplace(root)
    begun = []
    for planned in planned_runs(config):
        selection, label = selection_uri if planned.static else None, _label(planned, config)
        run = begin(dataset_uri, selection, planned.distill, planned.reselect, root, label, experts.get(planned.static))
        begun.append((run, planned, label))
        runs[planned.arm].append(run)
    if not dispatch.here():
        _carry_out(begun, root)
    return runs


def _carry_out(begun: Sequence[tuple[str, PlannedRun, str]], root: str) -> None:
    """All registered runs side by side; those that are divided shard by shard, and merged here, which is reading and writing."""
    networks = _networks(begun, root)
    if networks:
        dispatch.carry_out(f"pretrain {len(networks)} networks", networks)
    calls = []
    for run, planned, label in begun:
        shards = planned.distill.shards
        if shards == 1:
            calls.append(dispatch.distill_run(run, root, label))
        elif not went_through(run):
            calls += [dispatch.distill_shard(run, shard, shards, root, label) for shard in range(shards)]
    dispatch.carry_out(f"distill {len(begun)} runs", calls)
    for run, planned, label in begun:
        if planned.distill.shards > 1:
            go_through(run, planned.distill, planned.reselect.beta > 0, label)


def _networks(begun: Sequence[tuple[str, PlannedRun, str]], root: str) -> list[dispatch.Call]:
    """The pretrained networks of all runs that are not through; those that runs share once."""
    calls: dict[str, dispatch.Call] = {}
    for run, planned, label in begun:
        count = planned.distill.idc.pretrained.networks
        if count and not went_through(run):
            for number in range(count):
                call = dispatch.pretrain_network(run, number, root, label)
                calls.setdefault(call.artifact, call)
    return list(calls.values())


def synthetic_uri(run_uri: str) -> str:
    """Where the synthetic set of a run lies."""
    return join(run_uri, SYNTHETIC)


def _label(planned: PlannedRun, config: PipelineConfig) -> str:
    return planned.arm if config.experiments == 1 else f"{planned.arm} {planned.experiment + 1}/{config.experiments}"


def command(config: PipelineConfig) -> dict[str, list[str]]:
    dataset = ingest(config.ingest)
    selection = score_and_prune(config, dataset)[1] if needs_selection(config) else None
    return distill_arms(config, dataset, selection)


def show(runs: dict[str, list[str]]) -> None:
    for arm, experiments in runs.items():
        for run in experiments:
            program.show_uri(f"synthetic set, {arm}", synthetic_uri(run))


if __name__ == "__main__":
    program.run(__doc__, command, show)
