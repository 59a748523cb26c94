"""What level 2 ranks and gains where labels are wrong: digits with symmetric noise, effects against loss, with and without a sign.

    python -m benchmarks.dirty_labels ranks --root results        # AUROC of each score for wrong labels, first and last round
    python -m benchmarks.dirty_labels accuracy --root results     # paired distillations of each rule at the same beta

Labels of a share of the training images become another class, drawn uniformly; the test split stays as it is. `ranks` measures all
scores on the same states of unpruned runs, by the same networks, and takes the area under the ROC curve within each class (0.5 is
chance). Every run of `accuracy` has the seeds of the unpruned one, so differences are paired by distillation. Everything lies in
`--root` under its content key: a second call continues, or only prints.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import bilp
from bilp import distill, evaluate
from bilp.config import PipelineConfig, ReselectConfig
from bilp.config.reselect import RESELECT_SCORES
from bilp.data import open_dataset
from bilp.data.pool import RealPool
from bilp.distill.checkpoint import state_of
from bilp.distill.inputs import open_pool
from bilp.distill.kept import open_state
from bilp.distill.loops.registry import networks_for
from bilp.distill.part import Part
from bilp.distill.run import open_run
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.reselection import reselect
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.truth.metrics import auroc

NOISE = (0.2, 0.4)
TEST = 360
UPPER: dict[str, Any] = {"beta": 0.3, "low_share": 0.0}
RULES: dict[str, dict[str, Any]] = {
    "no pruning": {"beta": 0.0},
    "norm, both tails, beta 0.1": {},
    "norm, upper tail": UPPER,
    "loss, upper tail": {**UPPER, "score": "loss"},
    "feature distance, upper tail": {**UPPER, "score": "feature_distance"},
    "signed, most harmful": {**UPPER, "score": "signed", "held_out_steps": 10},
    "signed, after 1 step": {**UPPER, "score": "signed", "held_out_steps": 1},
    "weights by norm, upper tail": {**UPPER, "mode": "weight"},
    "weights by loss, upper tail": {**UPPER, "mode": "weight", "score": "loss"},
    "chance": {**UPPER, "score": "random"},
}
REFERENCES = ("no pruning", "norm, upper tail")
SCORES: dict[str, dict[str, Any]] = {
    "norm": {},
    "loss": {"score": "loss"},
    "feature distance": {"score": "feature_distance"},
    "signed, 1 step": {"score": "signed", "held_out_steps": 1},
    "signed, 10 steps": {"score": "signed", "held_out_steps": 10},
    "signed, 40 steps": {"score": "signed", "held_out_steps": 40},
}


def noisy_digits(share: float, root: str, seed: int = 0) -> tuple[str, NDArray[np.bool_]]:
    """The data set's URI, and which labels are wrong, bool `[N]`."""
    digits = load_digits()
    order = np.random.default_rng([seed, 1]).permutation(len(digits.target))
    images, labels = (digits.images[order] * (255 / 16)).round().astype(np.uint8), digits.target[order].astype(np.int64)
    train, given = labels[TEST:], labels[TEST:].copy()
    stream = np.random.default_rng([seed, 2])
    changed = stream.permutation(len(train))[: round(share * len(train))]
    given[changed] = (given[changed] + stream.integers(1, 10, len(changed))) % 10
    data = bilp.ingest(images=images[TEST:], labels=given, test=(images[:TEST], labels[:TEST]), root=root)
    if not np.array_equal(open_dataset(data.uri).train.labels.numpy(), given):
        raise RuntimeError("ingestion changed the order of the samples")
    return data.uri, given != train


def configuration(method: str, arguments: argparse.Namespace) -> PipelineConfig:
    network = {"width": arguments.width}
    return PipelineConfig.model_validate(
        {
            "dataset": "digits",
            "method": method,
            "ipc": 1,
            "distill": {"network": network, "rounds": 5, "iterations": arguments.iterations, "batch_real": 64},
            "evaluate": {"networks": [network], "seeds": arguments.networks},
        }
    )


def distilled(config: PipelineConfig, dataset: str, rule: dict[str, Any], seed: int, root: str) -> str:
    """The run, complete."""
    settings = config.distill.model_copy(update={"seed": config.distill.seed + seed})
    run = distill.start_run(dataset, None, settings, ReselectConfig.model_validate(rule), root)
    for number in range(1, settings.rounds + 1):
        distill.reselect_round(run, number)
        distill.distill_round(run, number)
    distill.finish_run(run)
    return run


def states(run_uri: str) -> Iterator[tuple[int, DistillState, RealPool]]:
    """The state before the first round and before the last one of a finished run."""
    run = open_run(run_uri)
    part, pool = Part(run_uri, run, None), open_pool(run_uri, run)
    yield 1, initial_state(run.distill, pool), pool
    last = run.distill.rounds
    yield last, state_of(open_state(part, last - 1), part, pool), pool


def scores_of(run_uri: str, number: int, state: DistillState, pool: RealPool, settings: dict[str, Any]) -> NDArray[np.float64]:
    """High is suspicious, `[N]`: every candidate is measured, over three networks."""
    config, score = open_run(run_uri).distill, ReselectConfig.model_validate({"beta": 0.1, "networks": 3, **settings})
    setting = Setting.assemble(config, score, pool, "cpu")
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, score)
    guard = Guard(config.learning_rate, pool.dataset.class_names, float("nan"), "")
    result = np.full(len(pool.dataset.train), np.nan)
    for part in reselect(setting, replace(state), number, pruner, guard, silent, networks_for(config.method)):
        result[part.ids.numpy()] = part.mean.double().numpy()
    return -result if RESELECT_SCORES[score.score].signed else result


def ranks(arguments: argparse.Namespace) -> None:
    """Print the table of AUROC."""
    print("| method | noise | round | " + " | ".join(SCORES) + " |")
    for method in arguments.methods:
        for noise in arguments.noise:
            found: dict[tuple[str, str], list[float]] = {}
            for seed in range(arguments.seeds):
                dataset, wrong = noisy_digits(noise, arguments.root, seed)
                run = distilled(configuration(method, arguments), dataset, {"beta": 0.0}, seed, arguments.root)
                for number, state, pool in states(run):
                    for name, settings in SCORES.items():
                        values = scores_of(run, number, state, pool, settings)
                        each = [auroc(values[ids], wrong[ids]) for ids in (own.numpy() for own in pool.by_class)]
                        found.setdefault(("first" if number == 1 else "last", name), []).append(fmean(each))
            for place in ("first", "last"):
                cells = [found[place, name] for name in SCORES]
                told = " | ".join(f"{fmean(values):.2f} ({min(values):.2f}-{max(values):.2f})" for values in cells)
                print(f"| {method} | {noise:.0%} | {place} | {told} |", flush=True)


def accuracy(arguments: argparse.Namespace) -> None:
    """Print the table of accuracies, and of paired differences against no pruning and against the norm's upper tail."""
    print("| method | noise | rule | accuracy | against no pruning | against the norm's upper tail |")
    chosen = {name: rule for name, rule in RULES.items() if name in (*REFERENCES, *arguments.rules)}
    for method in arguments.methods:
        config = configuration(method, arguments)
        for noise in arguments.noise:
            rows = {}
            began = time.process_time()
            for name, rule in chosen.items():
                uris = []
                for seed in range(arguments.seeds):
                    dataset, _ = noisy_digits(noise, arguments.root, seed)
                    run = distilled(config, dataset, rule, seed, arguments.root)
                    uris.append(evaluate.evaluate_synthetic(dataset, f"{run}/synthetic", "adaptive", seed, config.evaluate, arguments.root))
                rows[name] = evaluate.measurements(uris)
            for name, measured in rows.items():
                means = [fmean(row.accuracy for row in measured if row.experiment == seed) for seed in range(arguments.seeds)]
                mean, half = evaluate.interval(means)
                told = [f"{100 * mean:.1f} ± {100 * half:.1f}"]
                for other in REFERENCES:
                    apart = evaluate.paired_difference(measured, rows[other])
                    told.append("" if name == other else f"{100 * apart.mean:+.1f} ± {100 * apart.half_width95:.1f}")
                print(f"| {method} | {noise:.0%} | {name} | {' | '.join(told)} |", flush=True)
            print(f"({time.process_time() - began:.0f} CPU s)", flush=True)


def main() -> None:
    """Compute what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("ranks", "accuracy"))
    parser.add_argument("--root", required=True, help="storage root of the results")
    parser.add_argument("--methods", nargs="+", default=["dm", "dc"])
    parser.add_argument("--noise", nargs="+", type=float, default=list(NOISE), help="shares of wrong labels")
    parser.add_argument("--rules", nargs="+", default=list(RULES), help="those that are compared with the two references")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3, help="noisy data sets, each with a distillation of its own")
    parser.add_argument("--networks", type=int, default=2, help="trainings per distillation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (ranks if arguments.part == "ranks" else accuracy)(arguments)


if __name__ == "__main__":
    main()
