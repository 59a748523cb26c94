"""python -m benchmarks.networks_at_once

Evaluation networks trained in one computation against the same networks trained one by one: the ratio of their CPU times, on one
thread. This is what `bilp.evaluate.stacked_training.CPU_VALUES` rests on. Prints Markdown rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from bilp.allocator import keep_freed_memory
from bilp.config import NetworkConfig
from bilp.evaluate.stacked_training import fresh_stack, train_together
from bilp.nets import build, initialize
from bilp.seeds import generator
from bilp.training.batch_augment import Streams
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule

NETWORKS = 5
REPEATS = 3
FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")
# Width of the ConvNet, shape of the images, images in the set (one mini-batch), epochs.
CASES = (
    (8, (1, 8, 8), 10, 20),
    (64, (1, 8, 8), 10, 10),
    (64, (1, 8, 8), 20, 10),
    (64, (1, 8, 8), 50, 5),
    (128, (1, 8, 8), 10, 5),
    (32, (3, 32, 32), 10, 3),
    (128, (3, 32, 32), 10, 1),
)


def measured(width: int, shape: tuple[int, int, int], images: int, epochs: int) -> tuple[float, float]:
    """CPU seconds of all networks one by one, and of all at once: the best of several repeats, in turns."""
    stream = generator(0, "benchmark")
    pixels, labels = torch.randn(images, *shape, generator=stream), torch.randint(10, (images,), generator=stream)
    data, schedule = ImageSet.of_tensors(pixels, labels), Schedule(epochs, 256, 0.01, 0.9, 5e-4, FAMILIES)
    network = build(NetworkConfig(width=width), shape, 10)

    def alone() -> None:
        for k in range(NETWORKS):
            initialize(network, generator(0, k))
            list(train(network, data, schedule, Streams.of(0, "network", k)))

    def together() -> None:
        stacked = fresh_stack(network, [generator(0, k) for k in range(NETWORKS)])
        list(train_together(network, stacked, [data] * NETWORKS, schedule, [Streams.of(0, "network", k) for k in range(NETWORKS)]))

    times = [(_seconds(alone), _seconds(together)) for _ in range(REPEATS)]
    return min(one for one, _ in times), min(both for _, both in times)


def _seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    print("| network | images | values in the largest map | one by one, s | at once, s | ratio |\n|---|---|---|---|---|---|")
    for width, shape, images, epochs in CASES:
        alone, together = measured(width, shape, images, epochs)
        side = shape[1] + (4 if shape[0] == 1 else 0)  # gray images are padded by 3 instead of 1
        size = "x".join(map(str, shape))
        cells = (f"ConvNet w{width}, {size}", images, f"{width * images * side**2:,}", f"{alone:.3f}", f"{together:.3f}")
        print(f"| {' | '.join(map(str, cells))} | {alone / together:.2f} |")


if __name__ == "__main__":
    main()
