"""python -m flows.evaluate --dataset digits --method dm --ipc 1

Train fresh networks on every synthetic set and on the baselines, and test them on real images; sets that are not there yet are
distilled first.
"""

from __future__ import annotations

import tasks.evaluate
from bilp.config import EvaluateConfig, PipelineConfig
from bilp.config.arms import needs_selection, needs_teacher
from bilp.config.base import Positive
from bilp.config.baselines import ALL_REAL, RANDOM_REAL
from flows import program
from flows.distill import distill_arms, synthetic_uri
from flows.ingest import ingest
from flows.local.flow import flow
from flows.prune import score_and_prune
from flows.units import dispatch
from flows.workplace import Root, workplace
from tasks.evaluate import evaluate_baseline, evaluate_synthetic, train_teacher


@flow(name="evaluate", flow_run_name="evaluate with {config.seeds} seeds")
def evaluate(dataset_uri: str, runs: dict[str, list[str]], ipc: Positive, config: EvaluateConfig, root: Root | None = None) -> list[str]:
    """The URIs of the evaluations: baselines (the random one with `ipc` images per class), then the runs of each arm.

    Args:
        dataset_uri: The dataset, as ingest published it.
        runs: URIs of runs by arm: unpruned, static, adaptive, bilp.
        ipc: Images per class of the baselines that choose some.
        config: Networks, their training, seeds, baselines.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
    """
    root = workplace(root)
    if needs_teacher(config) and not dispatch.here():
        dispatch.carry_out("train teacher", [dispatch.train_teacher(dataset_uri, config, root)])
    elif needs_teacher(config):
        train_teacher(dataset_uri, config, root)
    if not dispatch.here():
        calls = [dispatch.evaluate_baseline(dataset_uri, baseline, ipc, config, root) for baseline in config.baselines]
        calls += [
            dispatch.evaluate_synthetic(dataset_uri, synthetic_uri(run), arm, experiment, config, root)
            for arm, experiments in runs.items()
            for experiment, run in enumerate(experiments)
        ]
        return dispatch.carry_out(f"evaluate {len(calls)} sets", calls)
    baselines = [evaluate_baseline(dataset_uri, baseline, ipc, config, root) for baseline in config.baselines]
    return baselines + [
        evaluate_synthetic(dataset_uri, synthetic_uri(run), arm, experiment, config, root)
        for arm, experiments in runs.items()
        for experiment, run in enumerate(experiments)
    ]


@flow(name="robustness", flow_run_name="robustness scores")
def robustness(dataset_uri: str, runs: dict[str, list[str]], ipc: int, config: EvaluateConfig, root: Root | None = None) -> str:
    """The URI of the table of DD-Ranking's scores: each set with its own labels and hard ones, with and without augmentation."""
    from bilp.evaluate import variants  # which imports torch

    evaluations = {}
    for variant, changed in variants(config).items():
        baselines = (ALL_REAL,) if variant == "hard" else (RANDOM_REAL,)
        evaluations[str(variant)] = evaluate(dataset_uri, runs, ipc, changed.model_copy(update={"baselines": baselines}), root)
    return tasks.evaluate.robustness(evaluations, workplace(root))


def command(config: PipelineConfig) -> list[str]:
    dataset = ingest(config.ingest)
    selection = score_and_prune(config, dataset)[1] if needs_selection(config) else None
    runs = distill_arms(config, dataset, selection)
    return evaluate(dataset, runs, config.ipc, config.evaluate)


if __name__ == "__main__":
    program.run(__doc__, command, program.show_accuracy)
