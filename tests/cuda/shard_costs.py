"""PYTHONPATH=. python tests/cuda/shard_costs.py [WIDTH]

What one worker of a divided run asks of its GPU in an iteration, by its number of classes.

At the papers' settings for CIFAR-10, on the pretended device: operations that launch a kernel, copies to the device with their
bytes, waits of the host, and the parameters that are drawn and moved. docs/gpu.md holds the table.
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from pretend_cuda import pretend_cuda

from benchmarks.gpu.iterations import CLASSES, SHAPE, config_for
from bilp import ingest
from bilp.config import DistillConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.registry import loop_for
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import Setting
from bilp.nets.arithmetic import arithmetic
from bilp.progress import silent
from bilp.seeds import generator

BATCH = 256
"""Real images per class, all there are."""
METHODS = ("dm", "dc", "dsa")
DIVIDED = (CLASSES, 5, 2, 1)
"""Classes of a worker: the whole run, and shards of two, of five, and of eight or ten."""


class Cost(NamedTuple):
    """What an iteration asks of the device."""

    launches: int
    copies: int
    copied_bytes: int
    waits: int


def stored_pool(per_class: int, root: Path) -> RealPool:
    """Random images in the shape of CIFAR-10, as ingestion stores them below `root`."""
    stream = generator(0, "shard_costs")
    images = torch.randint(0, 256, (CLASSES * per_class, *SHAPE), dtype=torch.uint8, generator=stream)
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    return RealPool(ingest(images=images, labels=labels, test=(images[::per_class], labels[::per_class]), root=str(root)).opened)


def cost(config: DistillConfig, classes: range, pool: RealPool) -> Cost:
    """The second iteration of these classes."""
    with pretend_cuda() as counts:
        setting = Setting.assemble(config, ReselectConfig(beta=0.0), pool, torch.device("cuda"), classes=classes)
        state = initial_state(config, pool, classes).to(setting.device)
        guard = Guard(config.learning_rate, pool.dataset.class_names, math.nan, "", classes)
        for iteration in (1, 2):
            counts.clear()
            with arithmetic(config.gpu, setting.device):
                loop_for(config.method)(setting, state, iteration, None, guard, silent)
        return Cost(counts.launches, sum(counts.copies.values()), counts.copied_bytes, sum(counts.waits.values()))


def row(method: str, number: int, width: int, pool: RealPool) -> str:
    """The row of a method and a number of classes."""
    found = cost(config_for(method, 1, width, BATCH, {"outer_loops": 1}), range(number), pool)
    return f"| `{method}` | {number} | {found.launches} | {found.copies} | {found.copied_bytes:,} | {found.waits} |"


def main(width: int) -> None:
    """Print the rows of the table."""
    print("| method | classes of a worker | launches | copies up | bytes up | waits |\n|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        pool = stored_pool(BATCH, Path(folder))
        for method, number in itertools.product(METHODS, DIVIDED):
            print(row(method, number, width, pool), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
