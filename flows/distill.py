"""python -m flows.distill --dataset digits --method dm --ipc 1

Distill a synthetic set for every arm of the comparison; selections that its arms need are made first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bilp.config import DistillConfig, PipelineConfig, ReselectConfig
from bilp.config.arms import (
    PlannedRun,
    distilled_arms,
    needs_experts,
    needs_selection,
    planned_runs,
    pruning_note,
    runs_ask_ranking,
    teacher_learns,
)
from bilp.preflight import check_choices, check_distillation
from flows import program
from flows.experts import experts_of_arms
from flows.found_reselect import with_found_reselect
from flows.ingest import ingest_with_record
from flows.local.flow import flow
from flows.planned import planned_steps
from flows.prune import ranked, score_and_prune
from flows.resolved import resolved
from flows.rounds import complete_run, shard_label
from flows.selections import selections_of_arms
from flows.taught import taught_each
from flows.units.execute import execute
from flows.units.table import distill_run, distill_shard, pretrain_network
from flows.units.unit import Call
from flows.workplace import workplace
from tasks import run_progress, terminal
from tasks.addresses import synthetic_set
from tasks.parameters import DatasetUri, Label, Root
from tasks.stages import is_complete, start_run


@flow(name="distill", flow_run_name="distill {label} by {config.method}, ipc {config.ipc}")
def distill(
    dataset_uri: DatasetUri,
    selection_uri: str | None,
    config: DistillConfig,
    reselect: ReselectConfig,
    root: Root = None,
    label: Label = "run",
    experts_uri: str | None = None,
    teacher_uri: str | None = None,
    ranking_uri: str | None = None,
) -> str:
    """The URI of the run, in which the synthetic set lies. Without a selection, all real samples take part.

    Methods that imitate experts need the buffer of those that learned the same samples; methods that ask or invert a teacher need one.

    Args:
        selection_uri: Samples that take part; if empty, all.
        config: Method, images per class, iterations and rounds.
        reselect: Adaptive pruning; beta 0 switches it off.
        experts_uri: The buffer of experts.
        teacher_uri: The teacher.
        ranking_uri: A selection that ranks the samples, for runs that ask how hard they are.
    """
    run = start_run(dataset_uri, selection_uri, config, reselect, workplace(root), label, experts_uri, teacher_uri, ranking_uri)
    complete_run(run, config, reselect.active, label)
    return run


@dataclass(frozen=True)
class _Registered:
    """A run of the plan that is registered."""

    uri: str
    planned: PlannedRun
    label: str

    @property
    def shards(self) -> int:
        return self.planned.distill.shards


def distill_arms(
    config: PipelineConfig, dataset_uri: str, selection_uri: str | None, root: Root = None, record_uri: str | None = None
) -> dict[str, list[str]]:
    """The URIs of the runs of each arm that distills, one for each experiment: all are registered, then carried out side by side.

    Args:
        config: What is compared.
        dataset_uri: The real images.
        selection_uri: What static pruning keeps, if an arm needs it.
        root: Where results lie.
        record_uri: The record of their source, which an arm may need to choose samples by.
    """
    place = workplace(root)
    selections = selections_of_arms(config, dataset_uri, selection_uri, record_uri, place)
    note = pruning_note(config)
    if note:
        terminal.say(f"          {note}")
    ranking = None
    if runs_ask_ranking(config):
        if not needs_selection(config):
            run_progress.stage()
        ranking = ranked(config, dataset_uri, root)
    if needs_experts(config):
        run_progress.stage()
    experts = experts_of_arms(config, dataset_uri, selections, root)
    run_progress.stage()
    plan = planned_runs(config)
    learned = {each: teacher_learns(config, each) for each in selections}

    @flow(name="distill-arms", flow_run_name="{what}")  # commands call this outside of any flow, and tasks need one
    def arms(what: str) -> dict[str, list[str]]:
        registered = []
        asked = [learned[planned.chosen] for planned in plan if planned.asks_teacher]
        wanted = {each: selections.get(each) for each in asked}  # all samples, which no arm may have, are no selection
        teachers = {}
        if wanted:
            teachers = taught_each(dataset_uri, wanted, config.evaluate, place)
            run_progress.stage()
        for planned in plan:
            selection, label, own = selections[planned.chosen], _label(planned, config), experts.get(planned.chosen)
            teacher = teachers[learned[planned.chosen]] if planned.asks_teacher else None
            ranks = ranking if planned.asks_ranking else None
            uri = start_run(dataset_uri, selection, planned.distill, planned.reselect, place, label, own, teacher, ranks)
            registered.append(_Registered(uri, planned, label))
        _carry_out(registered, place)
        return {arm: [run.uri for run in registered if run.planned.arm == arm] for arm in distilled_arms(config)}

    return arms(f"distill {len(plan)} runs by {config.method}, ipc {config.ipc}")


def _carry_out(registered: Sequence[_Registered], root: str) -> None:
    """All registered runs side by side; those that are divided shard by shard, and merged here, which is reading and writing."""
    networks = _networks(registered, root)
    if networks:
        execute(f"pretrain {len(networks)} networks", networks)
    execute(f"distill {len(registered)} runs", [call for run in registered for call in _distillations(run, root)])
    for run in registered:
        if run.shards > 1:
            complete_run(run.uri, run.planned.distill, run.planned.reselect.active, run.label)


def _networks(registered: Sequence[_Registered], root: str) -> list[Call]:
    """The pretrained networks of all runs that are not complete; those that runs share once."""
    calls: dict[str, Call] = {}
    for run in registered:
        count = run.planned.distill.pretrained.networks
        if count and not is_complete(run.uri):
            for number in range(count):
                call = pretrain_network.call(root, run_uri=run.uri, number=number, label=run.label)
                calls.setdefault(call.artifact, call)
    return list(calls.values())


def _distillations(run: _Registered, root: str) -> list[Call]:
    """The run, or its shards if it is divided into some and not complete."""
    if run.shards == 1:
        return [distill_run.call(root, run_uri=run.uri, label=run.label)]
    if is_complete(run.uri):
        return []
    labels = [shard_label(run.label, shard, run.shards) for shard in range(run.shards)]
    return [distill_shard.call(root, run_uri=run.uri, shard=shard, label=label) for shard, label in enumerate(labels)]


def _label(planned: PlannedRun, config: PipelineConfig) -> str:
    return planned.arm if config.experiments == 1 else f"{planned.arm} {planned.experiment + 1}/{config.experiments}"


def command(config: PipelineConfig) -> dict[str, list[str]]:
    terminal.expect(planned_steps(config, "distill"))
    dataset, record = ingest_with_record(config.ingest)
    config, _ = resolved(config, dataset)
    check_distillation(config, dataset)
    check_choices(config, record)
    scores, selection = score_and_prune(config, dataset) if needs_selection(config) else (None, None)
    return distill_arms(with_found_reselect(config, dataset, scores), dataset, selection, record_uri=record)


def show(runs: dict[str, list[str]]) -> None:
    for arm, experiments in runs.items():
        for run in experiments:
            program.show_uri(f"synthetic set, {arm}", synthetic_set(run))


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, command, show)


if __name__ == "__main__":
    main(sys.argv[1:])
