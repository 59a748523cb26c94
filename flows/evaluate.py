"""python -m flows.evaluate --dataset digits --method dm --ipc 1

Train fresh networks on every synthetic set and on the baselines, and test them on real images; sets that are not there yet are
distilled first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bilp.config import EvaluateConfig, PipelineConfig
from bilp.config.arms import evaluation_of, needs_selection, needs_teacher
from bilp.config.base import Positive
from bilp.config.baselines import ALL_REAL, BASELINES, RANDOM_REAL
from bilp.config.evaluated_set import EvaluatedSet
from bilp.preflight import check_choices
from bilp.teachers.supplied import named
from flows import program
from flows.distill import distill_arms
from flows.found_reselect import with_found_reselect
from flows.ingest import ingest_with_record
from flows.local.flow import flow
from flows.planned import planned_steps
from flows.prune import score_and_prune
from flows.resolved import resolved
from flows.taught import taught
from flows.units.blocks import blocks_elsewhere
from flows.units.execute import execute
from flows.units.table import evaluate_baseline, evaluate_synthetic
from flows.units.unit import Call
from flows.workplace import workplace
from tasks import stages, terminal
from tasks.addresses import synthetic_set
from tasks.parameters import DatasetUri, Root, RunsByArm


@flow(name="evaluate", flow_run_name="evaluate with {config.seeds} seeds")
def evaluate(
    dataset_uri: DatasetUri,
    runs: RunsByArm,
    ipc: Positive,
    config: EvaluateConfig,
    root: Root = None,
    selection_uri: str | None = None,
) -> list[str]:
    """The URIs of the evaluations: baselines (the random one with `ipc` images per class), then the runs of each arm.

    Args:
        ipc: Images per class of the baselines that choose some.
        config: Networks, their training, seeds, baselines.
        selection_uri: What static pruning keeps, for baselines that take images from it.
    """
    root, config = workplace(root), named(config)
    shared: dict[str, Any] = {"root": root, "dataset_uri": dataset_uri, "config": config}
    if needs_teacher(config):
        taught(dataset_uri, config, root)
    subjects = [
        EvaluatedSet(baseline=baseline, ipc=ipc, selection_uri=selection_uri if BASELINES[baseline].selected else None)
        for baseline in config.baselines
    ]
    subjects += [
        EvaluatedSet(synthetic_uri=synthetic_set(run), arm=arm, experiment=experiment)
        for arm, experiments in runs.items()
        for experiment, run in enumerate(experiments)
    ]
    blocks = blocks_elsewhere(subjects, **shared)
    if blocks:
        execute(f"train {len(blocks)} blocks of networks", blocks)
    return execute(f"evaluate {len(subjects)} sets", [_whole(subject, shared) for subject in subjects])


def _whole(subject: EvaluatedSet, shared: dict[str, Any]) -> Call:
    """The unit that publishes the evaluation of a set, of all trainings or of those that are there."""
    if subject.baseline is not None:
        real: dict[str, Any] = {"baseline": subject.baseline, "ipc": subject.ipc, "selection_uri": subject.selection_uri}
        return evaluate_baseline.call(**real, **shared)
    return evaluate_synthetic.call(synthetic_uri=subject.synthetic_uri, arm=subject.arm, experiment=subject.experiment, **shared)


@flow(name="robustness", flow_run_name="robustness scores")
def robustness(dataset_uri: DatasetUri, runs: RunsByArm, ipc: int, config: EvaluateConfig, root: Root = None) -> str:
    """The URI of the table of DD-Ranking's scores: each set with its own labels and hard ones, with and without augmentation."""
    from bilp.evaluate import variants  # which imports torch

    evaluations = {}
    for variant, changed in variants(config).items():
        baselines = (ALL_REAL,) if variant == "hard" else (RANDOM_REAL,)
        evaluations[str(variant)] = evaluate(dataset_uri, runs, ipc, changed.model_copy(update={"baselines": baselines}), root)
    return stages.robustness(evaluations, workplace(root))


def command(config: PipelineConfig) -> list[str]:
    terminal.expect(planned_steps(config, "evaluate"))
    dataset, record = ingest_with_record(config.ingest)
    config, _ = resolved(config, dataset)
    check_choices(config, record)
    scores, selection = score_and_prune(config, dataset) if needs_selection(config) else (None, None)
    config = with_found_reselect(config, dataset, scores)
    runs = distill_arms(config, dataset, selection, record_uri=record)
    return evaluate(dataset, runs, config.ipc, evaluation_of(config), selection_uri=selection)


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, command, program.show_accuracy)


if __name__ == "__main__":
    main(sys.argv[1:])
