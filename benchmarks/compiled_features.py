"""From how many iterations on compiled features of real samples pay: what compiling takes, and what an iteration of DM saves by it.

    TORCHINDUCTOR_CACHE_DIR=$(mktemp -d) OMP_NUM_THREADS=1 python -m benchmarks.compiled_features digits    # or cifar10, mnist

CPU seconds of one thread at the settings of the pipeline, in a process that has compiled nothing yet; a second call with the same folder
tells what a process pays that finds the code of another. Plain and compiled passes take turns, and medians are compared.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from bilp.allocator import keep_freed_memory
from bilp.config import PipelineConfig
from bilp.nets import build, initialize
from bilp.nets.compiled import BATCH, compiled
from bilp.seeds import generator

SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
CLASSES, TURNS, PASSES = 10, 12, 10


def spent() -> float:
    """CPU seconds of this process and of those that it started."""
    return sum(os.times()[:4])


def seconds(embed: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> float:
    """Of one pass."""
    start = time.process_time()
    for _ in range(PASSES):
        embed(images)
    return (time.process_time() - start) / PASSES


@torch.no_grad()
def main(dataset: str) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    keep_freed_memory()
    shape, config = SHAPES[dataset], PipelineConfig(dataset=dataset, method="dm").distill
    network = build(config.network, shape, CLASSES)
    initialize(network, generator(0, "network"))
    images = torch.randn(BATCH, *shape, generator=generator(0, "images"))
    before = spent()
    quick = compiled(network, shape, torch.device("cpu"))
    cost = spent() - before
    turns = [(seconds(network.embed, images), seconds(quick.embed, images)) for _ in range(TURNS)]
    plain, fast = (median(values) for values in zip(*turns, strict=True))
    saved = (plain - fast) * CLASSES * config.batch_real / BATCH
    print(
        f"{dataset}, width {config.network.width}: compiling {cost:.1f} s; {BATCH} images {plain * 1e3:.2f} ms, "
        f"compiled {fast * 1e3:.2f} ms ({plain / fast:.2f}x); {saved:.3f} s less an iteration, earned back after {cost / saved:.0f}; "
        f"n = {TURNS}, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    if sys.argv[1:] not in [[name] for name in SHAPES]:
        raise SystemExit((__doc__ or "").strip())
    main(sys.argv[1])
