"""What each level of pruning does to the accuracy: paired distillations of one data set under every pruning.

    python -m benchmarks.ablation --dataset parquet --uri CIFAR10_DIRECTORY --root results        # the arms one after the other
    python -m benchmarks.ablation --root results ... --worker 0/2 & python -m benchmarks.ablation --root results ... --worker 1/2

Arms: no pruning; the static level alone; the adaptive level alone; both; and in place of the causal effect, at the same share
of dropped samples, what costs less: the distance to the class's mean feature, the loss, chance. Every arm is distilled with
the same seeds and evaluated by the same networks, so the differences are paired by distillation; their 95 % intervals are over
the distillations. Everything lies in `--root` under its content key: a second call continues, or only prints.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass
from statistics import fmean

import torch

from bilp import distill, evaluate
from bilp.allocator import keep_freed_memory
from bilp.artifacts.artifact import open_artifact
from bilp.config import EvaluateConfig, IngestConfig, PipelineConfig, ReselectConfig, ScoreName
from bilp.data import ingest
from bilp.pruning.prune import prune
from bilp.scoring import summary
from bilp.scoring.trial import score_trial

STATIC_ARMS = {"unpruned": False, "static": True}
ADAPTIVE_ARMS: dict[str, tuple[bool, ScoreName]] = {
    "adaptive": (False, "ite"),
    "both levels": (True, "ite"),
    "feature distance": (False, "feature_distance"),
    "loss": (False, "loss"),
    "random": (False, "random"),
}
ARMS = (*STATIC_ARMS, *ADAPTIVE_ARMS)


@dataclass(frozen=True)
class Outcome:
    """One distillation of one arm, evaluated."""

    evaluation: str
    run: str
    reselected: bool


def main() -> None:
    """Compute what is missing, then print the table."""
    arguments = _arguments()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    config = _config(arguments)
    dataset = ingest(IngestConfig(source=arguments.dataset, uri=arguments.uri), arguments.root)
    part, parts = (int(number) for number in arguments.worker.split("/"))
    mine = [(arm, seed) for seed in range(config.experiments) for arm in ARMS]
    selection = _selection(config, dataset, arguments.root)
    for place, (arm, seed) in enumerate(mine):
        if place % parts == part:
            began = time.process_time()
            _outcome(config, dataset, selection, arm, seed, arguments.root)
            print(f"seed {seed}, {arm}: {time.process_time() - began:.0f} CPU s", flush=True)
    if parts == 1:
        _print(config, dataset, selection, arguments)


def _config(arguments: argparse.Namespace) -> PipelineConfig:
    network = {"width": arguments.width}
    return PipelineConfig.model_validate(
        {
            "dataset": arguments.dataset,
            "method": arguments.method,
            "ipc": arguments.ipc,
            "keep": arguments.keep,
            "beta": arguments.beta,
            "experiments": arguments.seeds,
            "ingest": {"uri": arguments.uri},
            "score": {"trials": 3, "epochs": 3, "network": network},
            "reselect": {"candidates_per_class": arguments.candidates},
            "distill": {"iterations": arguments.iterations, "batch_real": arguments.batch_real, "network": network},
            "evaluate": {"networks": [network], "seeds": arguments.networks},
        }
    )


def _selection(config: PipelineConfig, dataset: str, root: str) -> str:
    for trial in range(config.score.trials):
        score_trial(dataset, config.score, trial, root)
    return prune(dataset, summary.summarize(dataset, config.score, root), config.prune, root)


def _outcome(config: PipelineConfig, dataset: str, selection: str, arm: str, seed: int, root: str) -> Outcome:
    static, reselect = _levels(config.reselect, arm)
    settings = config.distill.model_copy(update={"seed": config.distill.seed + seed})
    run = distill.start_run(dataset, selection if static else None, settings, reselect, root)
    for number in range(1, settings.rounds + 1):
        distill.reselect_round(run, number)
        distill.distill_round(run, number)
    evaluation = evaluate.evaluate_synthetic(dataset, distill.finish_run(run), arm, seed, _protocol(config), root)
    return Outcome(evaluation, run, reselect.beta > 0)


def _levels(reselect: ReselectConfig, arm: str) -> tuple[bool, ReselectConfig]:
    if arm in STATIC_ARMS:
        return STATIC_ARMS[arm], reselect.model_copy(update={"beta": 0.0})
    static, score = ADAPTIVE_ARMS[arm]
    return static, reselect.model_copy(update={"score": score})


def _protocol(config: PipelineConfig) -> EvaluateConfig:
    return config.evaluate


def _print(config: PipelineConfig, dataset: str, selection: str, arguments: argparse.Namespace) -> None:
    found = {arm: [_outcome(config, dataset, selection, arm, seed, arguments.root) for seed in range(config.experiments)] for arm in ARMS}
    rows = {arm: evaluate.measurements([outcome.evaluation for outcome in outcomes]) for arm, outcomes in found.items()}
    print(
        f"{arguments.method}, ipc {arguments.ipc}, width {arguments.width}, {arguments.iterations} iterations of {arguments.batch_real} "
        f"real samples per class, keep {arguments.keep:g}, beta {arguments.beta:g}; {config.experiments} distillations x "
        f"{arguments.networks} networks per arm; {os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}"
    )
    print(f"{'pruning':<18} {'accuracy, %':>12} {'±':>6} {'against unpruned':>18} {'±':>6} {'really dropped':>15}")
    for arm, measured in rows.items():
        means = [fmean(row.accuracy for row in measured if row.experiment == seed) for seed in range(config.experiments)]
        mean, half = evaluate.interval(means)
        difference = evaluate.paired_difference(measured, rows["unpruned"])
        dropped = [_dropped(outcome, config.distill.rounds) for outcome in found[arm] if outcome.reselected]
        share = f"{100 * fmean(dropped):.1f} %" if dropped else "-"
        apart = f"{100 * difference.mean:+.2f}" if arm != "unpruned" else "-"
        apart_half = f"{100 * difference.half_width95:.2f}" if arm != "unpruned" else "-"
        print(f"{arm:<18} {100 * mean:12.2f} {100 * half:6.2f} {apart:>18} {apart_half:>6} {share:>15}")


def _dropped(outcome: Outcome, rounds: int) -> float:
    """Share of the measured samples that the adaptive level dropped over the whole run."""
    last = open_artifact(f"{outcome.run}/rounds/{rounds:04d}/reselect", "reselect")
    return float(last.fact("dropped_share_so_far"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits", help="source of the real images")
    parser.add_argument("--uri", default=None, help="where they lie, for folder and parquet")
    parser.add_argument("--root", required=True, help="storage root of the results")
    parser.add_argument("--method", default="dc")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--batch-real", type=int, default=128)
    parser.add_argument("--candidates", type=int, default=64, help="samples per class that are measured at a round's boundary")
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=5, help="distillations per arm")
    parser.add_argument("--networks", type=int, default=5, help="evaluation networks per distillation")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--worker", default="0/1", help="k/n computes every n-th of the distillations, for n processes at once")
    return parser.parse_args()


if __name__ == "__main__":
    main()
