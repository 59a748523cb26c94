"""What an iteration of each method costs, and what measuring the causal effect of a sample costs, beside those of `dm`.

    python -m benchmarks.method_costs                                   # every method that moves images, ConvNet of width 32
    python -m benchmarks.method_costs --width 128 --batch 256 --repeat 7 --methods dm dc

All methods run in turn in one process, on the same Gaussian images of the shape of CIFAR-10, with one synthetic image per class; then all
of them again. An iteration is without reselection, a reselection measures all candidates of all classes by `reselect.estimator auto`. What
an iteration repeats is cut short (`benchmarks.gpu.iterations.SHORT`), so that image steps, of which the table counts those of an
iteration, are what can be compared. Times are CPU seconds of one thread; of ratios, which are those of the same turn, the table has
medians and extremes. A method without causal effects has no reselection.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.gpu.iterations import SHORT, advance, beginning, config_for
from bilp.allocator import keep_freed_memory
from bilp.config import METHODS, DistillConfig
from bilp.config.methods import DEFAULT_METHOD, optimizing
from bilp.distill.step.divergence import Guard
from bilp.distill.step.reselection import Prepare, reselect
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.registry import resolve

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Spent:
    """CPU seconds of one turn."""

    iteration: float
    sample: float
    """Of the effect of one sample; NaN where the method has none."""


class Method:
    """A method on its own state, of which one iteration is done: some methods make their networks in it."""

    def __init__(self, config: DistillConfig, iterations: int) -> None:
        self._iterations = iterations
        self._adaptive = METHODS[config.method].adaptive
        self._setting, self._state = beginning(config, CPU)
        advance(self._setting, self._state)
        if self._adaptive:
            self._measure()  # what is compiled or allocated once is so before the clock is looked at

    @property
    def image_steps(self) -> int:
        """Of an iteration."""
        return self._setting.schedule.outer_loops

    @property
    def real_samples(self) -> int:
        """That an image step looks at."""
        config = self._setting.config
        return METHODS[config.method].looked_at(config) * len(self._setting.classes)

    def turn(self) -> Spent:
        """Some iterations, and a reselection."""
        began = time.process_time()
        advance(self._setting, self._state, self._iterations)
        spent = (time.process_time() - began) / self._iterations
        return Spent(spent, self._measure() if self._adaptive else math.nan)

    def _measure(self) -> float:
        data, config = self._setting.pool.dataset, self._setting.config
        guard = Guard(config.learning_rate, data.class_names, math.nan, "")
        pruner = AdaptivePruner(data.train.labels, self._setting.pool.classes, self._setting.reselect)
        prepare: Prepare = resolve(METHODS[config.method].networks)
        began = time.process_time()
        decided = reselect(self._setting, self._state, 1, pruner, guard, silent, prepare)
        return (time.process_time() - began) / sum(len(each.ids) for each in decided)


def rows(names: Sequence[str], made: Sequence[Method], told: Sequence[Sequence[Spent]]) -> Iterator[str]:
    """The table, from the turns of every method."""
    heads = (
        "method",
        "image steps",
        "iteration, s",
        "image step / dm's",
        "effect of a sample, ms",
        "effect / dm's",
        "effect / sample's image step",
    )
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|---|---|---|---|---|"
    base = dict(zip(names, told, strict=True))[DEFAULT_METHOD]
    for name, method, turns in zip(names, made, told, strict=True):
        steps = [turn.iteration / method.image_steps for turn in turns]
        beside = _range([step / other.iteration for step, other in zip(steps, base, strict=True)])
        cells = [str(method.image_steps), f"{median(turn.iteration for turn in turns):.3f}", beside]
        if math.isnan(turns[0].sample):
            cells += ["", "", ""]
        else:
            real = method.real_samples
            cells.append(f"{1e3 * median(turn.sample for turn in turns):.3f}")
            cells.append(_range([turn.sample / other.sample for turn, other in zip(turns, base, strict=True)]))
            cells.append(_range([turn.sample * real / step for turn, step in zip(turns, steps, strict=True)]))
        yield f"| `{name}` | {' | '.join(cells)} |"


def _range(values: Sequence[float]) -> str:
    """'1.9 (1.8-2.1)'."""
    return f"{median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def main(given: Sequence[str] | None = None) -> None:
    """Print the table."""
    arguments = _arguments(given)
    keep_freed_memory()
    torch.set_num_threads(1)
    names = list(dict.fromkeys([DEFAULT_METHOD, *arguments.methods]))
    made = [Method(config_for(name, 1, arguments.width, arguments.batch, SHORT.get(name)), arguments.iterations) for name in names]
    turns = [[method.turn() for method in made] for _ in range(arguments.repeat)]
    print(
        f"width {arguments.width}, {arguments.batch} real images a class of 10, ipc 1, one thread of {os.cpu_count()} cores "
        f"({platform.machine()}), torch {torch.__version__}, CPU seconds, {arguments.repeat} turns of {arguments.iterations} iterations "
        "and a reselection: median (least-most)"
    )
    for line in rows(names, made, [list(each) for each in zip(*turns, strict=True)]):
        print(line)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=optimizing(), choices=optimizing())
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32, help="real images of a class")
    parser.add_argument("--iterations", type=int, default=2, help="of a turn")
    parser.add_argument("--repeat", type=int, default=5, help="turns")
    return parser.parse_args(given)


if __name__ == "__main__":
    main()
