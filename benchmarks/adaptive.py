"""What adaptive pruning costs on top of a distillation, and how far that is from the definition of the causal effect.

    python -m benchmarks.adaptive --dataset URI                        # an ingested data set; DC and DM as published, width 128
    python -m benchmarks.adaptive --dataset URI --methods dm --width 32 --iterations 20

Extra time: one reselection as the configuration has it, at the boundary of a round, against the iterations of that round without
pruning. The iterations are timed over `--iterations` and scaled to a whole round: their cost does not change along a run.
Naive: leaving every sample of the pool out, one by one, at every iteration. One such effect is timed, for two readings of it:
by definition (the mean over the class's whole pool is formed anew) and with the mean kept (one sample's vector is taken
out of it); both include the gradient of the synthetic images. Times are of `--clock`, by default CPU seconds.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.devices import CLOCKS, clock_on
from bilp.allocator import keep_freed_memory
from bilp.causal.reference.oracle import meta_gradient
from bilp.config import PipelineConfig
from bilp.data import Dataset, open_dataset
from bilp.data.pool import RealPool
from bilp.distill.loops.registry import loop_for
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.reselection import reselect
from bilp.distill.step.setting import Setting
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner


def main() -> None:
    """Print one line per method and figure."""
    arguments = _arguments()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    dataset = open_dataset(arguments.dataset)
    print(
        f"{dataset.name}, {len(dataset.train):,} real images, ipc {arguments.ipc}, width {arguments.width}, {arguments.threads} of "
        f"{os.cpu_count()} cores ({platform.machine()}), {arguments.device}, torch {torch.__version__}, {arguments.clock} seconds, "
        f"medians of {arguments.repeat}"
    )
    for method in arguments.methods:
        config = _config(method, arguments.ipc, arguments.width)
        device = torch.device(arguments.device)
        report(config, dataset, device, arguments.iterations, arguments.repeat, clock_on(device, CLOCKS[arguments.clock]))


def report(
    config: PipelineConfig, dataset: Dataset, device: torch.device, iterations: int, repeat: int, clock: Callable[[], float]
) -> None:
    """Time one configuration and print what its adaptive level costs."""
    setting = Setting.assemble(config.distill, config.reselect, RealPool(dataset), device)
    round_length = config.distill.iterations / config.distill.rounds
    iteration = median(_iterations(setting, dataset, iterations, clock) for _ in range(repeat))
    selection, measured = _reselection(setting, dataset, repeat, clock)
    extra = selection / (round_length * iteration)
    print(f"{config.method}: {config.distill.iterations} iterations in {config.distill.rounds} rounds, {measured} samples measured in each")
    print(f"  iteration without pruning    {iteration:10.3f} s")
    print(f"  one reselection              {selection:10.3f} s = {100 * extra:.2f} % of a round without pruning")
    ours = selection / round_length
    for reading, seconds in _naive(setting, dataset, clock).items():
        naive = seconds * len(dataset.train)
        print(
            f"  naive, {reading:<22}{naive:10.3g} s an iteration; ours, amortized, {ours:.3g} s: {naive / ours:,.0f} times less", flush=True
        )


def _config(method: str, ipc: int, width: int) -> PipelineConfig:
    return PipelineConfig.model_validate({"dataset": "cifar10", "method": method, "ipc": ipc, "distill": {"network": {"width": width}}})


def _guard(setting: Setting, dataset: Dataset) -> Guard:
    return Guard(setting.config.learning_rate, dataset.class_names, math.nan, "")


def _iterations(setting: Setting, dataset: Dataset, count: int, clock: Callable[[], float]) -> float:
    """Seconds of one iteration; the first one warms up and is not timed."""
    advance, state = loop_for(setting.config.method), initial_state(setting.config, setting.pool).to(setting.device)
    advance(setting, state, 1, None, _guard(setting, dataset), silent)
    began = clock()
    advance(setting, state, 1 + count, None, _guard(setting, dataset), silent)
    return (clock() - began) / count


def _reselection(setting: Setting, dataset: Dataset, repeat: int, clock: Callable[[], float]) -> tuple[float, int]:
    state = initial_state(setting.config, setting.pool).to(setting.device)
    seconds, measured = [], 0
    for _ in range(repeat):
        pruner = AdaptivePruner(dataset.train.labels, setting.pool.classes, setting.reselect)
        began = clock()
        decided = reselect(setting, state, 1, pruner, _guard(setting, dataset), silent)
        seconds.append(clock() - began)
        measured = sum(len(part.ids) for part in decided)
    return median(seconds), measured


def _naive(setting: Setting, dataset: Dataset, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of the effect of one left-out sample of class 0."""
    state = initial_state(setting.config, setting.pool).to(setting.device)
    rows, network, matching = setting.rows(0), setting.network, setting.matching
    setting.draw_network("naive")
    synthetic = (state.images[rows], state.labels[rows])
    ids = setting.pool.by_class[0]
    images, labels = setting.pool.images(ids[1:], setting.device), setting.class_labels(0, len(ids) - 1)
    began = clock()
    meta_gradient(matching, network, matching.real_mean(network, images, labels), synthetic, lambda given: given)
    definition = clock() - began
    mean = matching.real_mean(network, images, labels)
    began = clock()
    one = matching.real_mean(network, images[:1], labels[:1])
    without = tuple((len(ids) * whole - part) / (len(ids) - 1) for whole, part in zip(mean, one, strict=True))
    meta_gradient(matching, network, without, synthetic, lambda given: given)
    return {"by definition": definition, "with the mean kept": clock() - began}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="URI of an ingested data set")
    parser.add_argument("--methods", nargs="+", default=["dc", "dm"])
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=5, help="iterations that are timed")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--device", default="cpu", help="on a GPU the clock is that of the wall")
    return parser.parse_args()


if __name__ == "__main__":
    main()
