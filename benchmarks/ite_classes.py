"""The causal effects of ten classes: measured together, against one class after the other.

    python -m benchmarks.ite_classes                                   # width 32, 1 synthetic image 3x32x32 per class
    python -m benchmarks.ite_classes --width 128 --synthetic 10 --samples 4 16

Both are the exact effects of the same Gaussian images, in turn, `--repeat` times; the least time of each is printed. From
some number of samples on a class fills the device by itself, is measured alone in either way, and the ratio is 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import time

import torch
from torch import Tensor

from bilp.allocator import keep_freed_memory
from bilp.causal import ClassBatch, EffectSettings, measure, measure_classes
from bilp.config import NetworkConfig
from bilp.matching import Matching, matching_for
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

SHAPE = (3, 32, 32)
LARGEST_ERROR = 1e-3
EXACT = EffectSettings("cotangent")


def class_batches(classes: int, samples: int, synthetic: int, device: torch.device) -> list[ClassBatch]:
    """Gaussian images of every class."""
    stream = generator(0, "images")

    def draw(label: int, count: int) -> tuple[Tensor, Tensor]:
        return torch.randn(count, *SHAPE, generator=stream).to(device), torch.full((count,), label, device=device)

    return [ClassBatch(draw(c, samples), draw(c, synthetic)) for c in range(classes)]


def one_by_one(matching: Matching, network: Network, batches: list[ClassBatch]) -> list[Tensor]:
    """Norms of every class."""
    return [measure(matching, network, batch, EXACT).norms.cpu() for batch in batches]


def together(matching: Matching, network: Network, batches: list[ClassBatch]) -> list[Tensor]:
    """The same."""
    return [found.norms.cpu() for found in measure_classes(matching, network, batches, EXACT)]


def compare(matching: Matching, network: Network, batches: list[ClassBatch], repeat: int) -> tuple[float, float]:
    """Least seconds of both, one by one and together."""
    for alone, shared in zip(one_by_one(matching, network, batches), together(matching, network, batches), strict=True):
        error = float(((alone - shared).abs() / alone).max())
        if error > LARGEST_ERROR:
            raise SystemExit(f"{matching.name}: both ways differ by {error:.1e}: one of them is wrong")
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeat):
        for way, times in zip((one_by_one, together), seconds, strict=True):
            began = time.perf_counter()
            way(matching, network, batches)
            times.append(time.perf_counter() - began)
    return min(seconds[0]), min(seconds[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=("dm", "dc"), default=("dc", "dm"))
    parser.add_argument("--width", type=int, default=32, help="channels of the ConvNet")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--samples", type=int, nargs="+", default=(2, 4, 8, 16, 32, 64), help="real images per class")
    parser.add_argument("--synthetic", type=int, default=1, help="synthetic images per class")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    print(
        f"{arguments.classes} classes, {arguments.synthetic} synthetic images each, width {arguments.width}, {arguments.threads} of "
        f"{os.cpu_count()} cores ({platform.machine()}), {device}, torch {torch.__version__}, least of {arguments.repeat}"
    )
    network = build(NetworkConfig(width=arguments.width), SHAPE, arguments.classes).to(device)
    initialize(network, generator(0, "network"))
    for method in arguments.methods:
        network.requires_grad_(method != "dm")
        for samples in arguments.samples:
            batches = class_batches(arguments.classes, samples, arguments.synthetic, device)
            alone, shared = compare(matching_for(method), network, batches, arguments.repeat)
            print(
                f"{method}  {samples:4d} real per class: one by one {alone:.3f} s, together {shared:.3f} s, ratio {alone / shared:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
