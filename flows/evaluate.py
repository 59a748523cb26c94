"""python -m flows.evaluate --dataset digits --method dm --ipc 1

Train fresh networks on every synthetic set and on the baselines, and test them on real images; sets that are not there yet are
distilled first.
"""

from __future__ import annotations

from bilp.arms import needs_selection
from bilp.config import EvaluateConfig, PipelineConfig
from flows import program
from flows.distill import distill_arms, synthetic_uri
from flows.ingest import ingest
from flows.local_flow import flow
from flows.prune import score_and_prune
from flows.workplace import workplace
from tasks.evaluate import evaluate_baseline, evaluate_synthetic


@flow(name="evaluate", flow_run_name="evaluate with {config.seeds} seeds")
def evaluate(dataset_uri: str, runs: dict[str, list[str]], ipc: int, config: EvaluateConfig, root: str | None = None) -> list[str]:
    """The URIs of the evaluations: baselines (the random one with `ipc` images per class), then the runs of each arm."""
    root = workplace(root)
    baselines = [evaluate_baseline(dataset_uri, baseline, ipc, config, root) for baseline in config.baselines]
    return baselines + [
        evaluate_synthetic(dataset_uri, synthetic_uri(run), arm, experiment, config, root)
        for arm, experiments in runs.items()
        for experiment, run in enumerate(experiments)
    ]


def command(config: PipelineConfig) -> list[str]:
    dataset = ingest(config.ingest)
    selection = score_and_prune(config, dataset)[1] if needs_selection(config) else None
    runs = distill_arms(config, dataset, selection)
    return evaluate(dataset, runs, config.ipc, config.evaluate)


if __name__ == "__main__":
    program.run(__doc__, command, program.show_accuracy)
