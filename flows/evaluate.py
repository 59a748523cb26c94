"""python -m flows.evaluate --dataset digits --method dm --ipc 1

Train fresh networks on every synthetic set and on the baselines, and test them on real images; sets that are not there yet are
distilled first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bilp.config import EvaluateConfig, PipelineConfig
from bilp.config.arms import needs_selection, needs_teacher
from bilp.config.base import Positive
from bilp.config.baselines import ALL_REAL, RANDOM_REAL
from flows import program
from flows.distill import distill_arms
from flows.ingest import ingest
from flows.local.flow import flow
from flows.planned import planned_steps
from flows.prune import score_and_prune
from flows.resolved import resolved
from flows.units.execute import execute
from flows.units.table import evaluate_baseline, evaluate_synthetic, train_teacher
from flows.workplace import workplace
from tasks import stages, terminal
from tasks.addresses import synthetic_set
from tasks.parameters import DatasetUri, Root, RunsByArm


@flow(name="evaluate", flow_run_name="evaluate with {config.seeds} seeds")
def evaluate(dataset_uri: DatasetUri, runs: RunsByArm, ipc: Positive, config: EvaluateConfig, root: Root = None) -> list[str]:
    """The URIs of the evaluations: baselines (the random one with `ipc` images per class), then the runs of each arm.

    Args:
        ipc: Images per class of the baselines that choose some.
        config: Networks, their training, seeds, baselines.
    """
    root = workplace(root)
    shared: dict[str, Any] = {"root": root, "dataset_uri": dataset_uri, "config": config}
    if needs_teacher(config):
        execute("train teacher", [train_teacher.call(**shared)])
    calls = [evaluate_baseline.call(baseline=baseline, ipc=ipc, **shared) for baseline in config.baselines]
    calls += [
        evaluate_synthetic.call(synthetic_uri=synthetic_set(run), arm=arm, experiment=experiment, **shared)
        for arm, experiments in runs.items()
        for experiment, run in enumerate(experiments)
    ]
    return execute(f"evaluate {len(calls)} sets", calls)


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
    dataset = ingest(config.ingest)
    config, _ = resolved(config, dataset)
    selection = score_and_prune(config, dataset)[1] if needs_selection(config) else None
    runs = distill_arms(config, dataset, selection)
    return evaluate(dataset, runs, config.ipc, config.evaluate)


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, command, program.show_accuracy)


if __name__ == "__main__":
    main(sys.argv[1:])
