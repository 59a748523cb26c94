"""What classes cost by themselves: an iteration of DM on 1000 classes beside one on 10 classes with the same images in all.

    python -m benchmarks.many_classes
    python -m benchmarks.many_classes --side 8 --width 16 --depth 1 --repeat 7

Both take as many real and synthetic images through the same network; the iterations take turns, and seconds are those of the CPU, the
least of the repetitions. What is drawn, augmented and added up for each class is the difference.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import cast

import torch

from benchmarks.step_settings import Noise
from bilp.config import DistillConfig, NetworkConfig, PipelineConfig, ReselectConfig
from bilp.data import Dataset
from bilp.data.pool import RealPool
from bilp.distill.loops.dm_dc import SummedIterations
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import Setting

FEW, MANY = 10, 1000


def loop(classes: int, arguments: argparse.Namespace) -> SummedIterations:
    """The loop of so many classes, `arguments.each` real images of MANY of them or as many more of fewer."""
    more = MANY // classes
    usual = PipelineConfig(dataset="cifar10", method="dm", ipc=more).distill
    network = NetworkConfig(width=arguments.width, depth=arguments.depth)
    changed = {"batch_real": arguments.each * more, "network": network.model_dump(), "rounds": 1, "real_pass": "float32"}
    config = DistillConfig.model_validate(usual.model_dump() | changed)
    pool = RealPool(cast(Dataset, Noise(classes, arguments.each * more, (3, arguments.side, arguments.side))))
    setting = Setting.assemble(config, ReselectConfig(beta=0.0), pool, "cpu")
    guard = Guard(config.learning_rate, pool.dataset.class_names, math.nan, "")
    return SummedIterations(setting, initial_state(config, pool), None, guard)


def main() -> None:
    """Print seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("each", 10), ("side", 32), ("width", 32), ("depth", 3), ("repeat", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    loops = {classes: loop(classes, arguments) for classes in (FEW, MANY)}
    least = dict.fromkeys(loops, math.inf)
    for number in range(arguments.repeat + 1):  # the first warms up
        for classes, iterations in loops.items():
            begun = time.process_time()
            iterations.advance(number + 1)
            if number:
                least[classes] = min(least[classes], time.process_time() - begun)
    for classes, seconds in least.items():
        print(f"{classes:5d} classes {1000 * seconds:8.0f} ms of CPU an iteration")
    print(f"ratio {least[MANY] / least[FEW]:.2f}")


if __name__ == "__main__":
    main()
