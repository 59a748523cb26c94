"""The causal effect of one class batch: this project's implementation against the generic one of torch.func and autograd.

    python -m benchmarks.ite                                           # width 128, 256 real images 3x32x32, 1 synthetic
    python -m benchmarks.ite --width 32 --batch 64 --synthetic 10 --threads 1
    python -m benchmarks.ite --dataset URI --class 3                    # real images of an ingested data set
    python -m benchmarks.ite --data FOLDER                             # everything on real images, Parquet files as on Hugging Face

With `--data`: rank agreement, time and memory of every estimator (benchmarks.ite_estimators), then this comparison, then
what adaptive pruning adds to a distillation and how far that is from the definition (benchmarks.adaptive).

Both compute the exact effects. The generic one is what the definition suggests: vmap(grad) for the per-sample vectors
and autograd's batched differentiation for the products with J^T. Both are run in turn, `--repeat` times; medians are
printed, with the ratio of each part and the time of the class's ordinary step, which the effect comes on top of.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from benchmarks import adaptive, ite_estimators
from benchmarks.devices import CLOCKS, Clock, clock_on, devices
from bilp.allocator import keep_freed_memory
from bilp.causal import ClassBatch, EffectSettings, ite
from bilp.causal.cotangent import cotangent_differences
from bilp.config import IngestConfig, MethodName, NetworkConfig, PipelineConfig
from bilp.data import ingest, open_dataset
from bilp.matching import Matching, Vectors, matching_for
from bilp.matching.jacobian import GenericPullback
from bilp.matching.per_sample import micro_batches, per_sample_by_vmap
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

GENERIC_CHUNK = 32  # samples of one vmap: as fast as 16, 2.4 times as fast as all 256 at once
GENERIC_LANES = 8  # cotangents of one batched differentiation: fastest of 4, 8, 16, 32 and 64
BUDGET = 512 * 2**20
LARGEST_ERROR = 1e-3


@dataclass(frozen=True)
class Problem:
    """One class batch."""

    network: Network
    real: Tensor
    synthetic: Tensor
    label: int

    def labels(self, images: Tensor) -> Tensor:
        """The class's label for every image."""
        return torch.full((len(images),), self.label, device=images.device)


class Stopwatch:
    """Seconds of each named piece of work, once per repetition."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds: dict[str, list[float]] = {}

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work, note its time, hand on its result."""
        start = self._clock()
        result = work()
        self.seconds.setdefault(name, []).append(self._clock() - start)
        return result

    def median(self, name: str) -> float:
        """Median seconds."""
        return median(self.seconds[name])


def generic_vectors(method: str, problem: Problem) -> list[Vectors]:
    """Per-sample vectors by torch.func, in chunks."""
    network, parts = problem.network, problem.real.split(GENERIC_CHUNK)
    if method != "dm":
        return [per_sample_by_vmap(network, part, problem.labels(part)) for part in parts]
    body = {name.removeprefix("body."): p.detach() for name, p in network.named_parameters() if name.startswith("body.")}
    embed = vmap(lambda image: functional_call(network.body, body, (image.unsqueeze(0),))[0])
    return [(embed(part),) for part in parts]


def fast_vectors(matching: Matching, problem: Problem) -> list[Vectors]:
    """Per-sample vectors as the causal effect takes them."""
    return [matching.real(problem.network, problem.real[rows], problem.labels(problem.real[rows])) for rows in micro_batches(problem.real)]


def products(pull: Any, cotangents: list[Vectors]) -> Tensor:
    """All products with J^T."""
    return torch.cat(
        [
            pull(tuple(block[start : start + pull.lanes, None] for block in part))
            for part in cotangents
            for start in range(0, len(part[0]), pull.lanes)
        ]
    )


def generic_pullback(matching: Matching, problem: Problem) -> GenericPullback:
    """Autograd's batched differentiation of psi."""
    points = problem.synthetic.clone().requires_grad_()
    psi = matching.synthetic(problem.network, points, problem.labels(points))
    return GenericPullback(tuple(block.unsqueeze(0) for block in psi), points, GENERIC_LANES)


def differences(matching: Matching, problem: Problem, phi: list[Vectors]) -> list[Vectors]:
    """The cotangents of all samples, chunk by chunk."""
    count = len(problem.real)
    mean = tuple(torch.stack([part[k].sum(dim=0) for part in phi]).sum(dim=0) / count for k in range(len(phi[0])))
    psi = matching.real_mean(problem.network, problem.synthetic, problem.labels(problem.synthetic))
    return [cotangent_differences(matching, mean, part, psi, count) for part in phi]


def generic_ite(method: str, matching: Matching, problem: Problem) -> Tensor:
    """Norms of the effects, generic throughout."""
    cotangents = differences(matching, problem, generic_vectors(method, problem))
    norms: Tensor = torch.linalg.vector_norm(products(generic_pullback(matching, problem), cotangents).flatten(1), dim=1)
    return norms


def fast_ite(matching: Matching, problem: Problem) -> Tensor:
    """Norms of the effects as distillation takes them."""
    real, synthetic = problem.real, problem.synthetic
    batch = ClassBatch((real, problem.labels(real)), (synthetic, problem.labels(synthetic)))
    return ite(matching, problem.network, batch, EffectSettings(byte_budget=BUDGET))


def ordinary_step(matching: Matching, problem: Problem) -> Tensor:
    """What a class costs in every iteration: mean real vector and gradient of the synthetic images."""
    mean = matching.real_mean(problem.network, problem.real, problem.labels(problem.real))
    points = problem.synthetic.clone().requires_grad_()
    loss = matching.distance(mean, matching.synthetic(problem.network, points, problem.labels(points)))
    (gradient,) = torch.autograd.grad(loss, points)
    return gradient


def run_once(method: MethodName, matching: Matching, problem: Problem, watch: Stopwatch) -> float:
    """Time every part once, both implementations in turn; the largest relative difference between their norms."""
    watch.time("ordinary step", lambda: ordinary_step(matching, problem))
    watch.time("vectors generic", lambda: generic_vectors(method, problem))
    phi = watch.time("vectors fast", lambda: fast_vectors(matching, problem))
    cotangents = watch.time("differences", lambda: differences(matching, problem, phi))
    slow_pull = generic_pullback(matching, problem)
    watch.time("products generic", lambda: products(slow_pull, cotangents))
    fast_pull = matching.pullback(problem.network, problem.synthetic, problem.labels(problem.synthetic), len(problem.real), BUDGET)
    watch.time("products fast", lambda: products(fast_pull, cotangents))
    # The whole effect starts with as much free memory as it would have alone.
    phi.clear()
    cotangents.clear()
    wanted = watch.time("effect generic", lambda: generic_ite(method, matching, problem))
    found = watch.time("effect fast", lambda: fast_ite(matching, problem))
    return float(((found - wanted).abs() / wanted).max())


def measure(method: MethodName, problem: Problem, repeat: int, clock: Clock) -> None:
    """Time all parts, check that both implementations agree, print."""
    matching, watch = matching_for(method), Stopwatch(clock)
    run_once(method, matching, problem, Stopwatch(clock))  # the first use of torch.func alone takes a second
    error = max(run_once(method, matching, problem, watch) for _ in range(repeat))
    if error > LARGEST_ERROR:
        raise SystemExit(f"{method}: the implementations differ by {error:.1e}: one of them is wrong")
    print(f"{method}   (largest relative difference of a norm {error:.1e})")
    for part, label in (("vectors", "per-sample vectors"), ("products", "products with J^T"), ("effect", "whole effect")):
        slow, fast = watch.median(f"{part} generic"), watch.median(f"{part} fast")
        print(f"  {label:20s} generic {slow:8.3f} s   ours {fast:8.3f} s   ratio {slow / fast:6.2f}")
    step = watch.median("ordinary step")
    print(f"  {'cotangents':20s} {watch.median('differences'):.3f} s (in both)")
    print(f"  {'ordinary step':20s} {step:.3f} s; the effect costs {watch.median('effect fast') / step:.2f} ordinary steps (ours)")


def draw_problem(arguments: argparse.Namespace, device: torch.device) -> Problem:
    """Real images of a data set, or Gaussian ones; synthetic images start as samples that are not in the batch."""
    if arguments.dataset is None:
        shape, classes = (arguments.channels, arguments.side, arguments.side), 10
        images = torch.randn(arguments.batch + arguments.synthetic, *shape, generator=generator(0, "images"))
    else:
        dataset = open_dataset(arguments.dataset)
        ids = dataset.train.by_class()[arguments.label][: arguments.batch + arguments.synthetic]
        if len(ids) < arguments.batch + arguments.synthetic:
            raise SystemExit(f"class {arguments.label} has {len(ids)} images: lower --batch")
        shape, classes, images = dataset.shape, dataset.classes, dataset.train.batch(ids)
    network = build(NetworkConfig(width=arguments.width, depth=arguments.depth), shape, classes)
    initialize(network, generator(0, "network"))
    real, synthetic = images.to(device).split([arguments.batch, arguments.synthetic])
    return Problem(network.to(device), real, synthetic, arguments.label)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=("dm", "dc"), default=("dc", "dm"))
    parser.add_argument("--width", type=int, default=128, help="channels of the ConvNet")
    parser.add_argument("--depth", type=int, default=3, help="blocks of the ConvNet")
    parser.add_argument("--batch", type=int, default=256, help="real images")
    parser.add_argument("--synthetic", type=int, default=1, help="synthetic images")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions; medians are printed")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="on a CPU; cpu sums over threads: for a machine that others use too"
    )
    parser.add_argument("--dataset", help="URI of an ingested data set; Gaussian images without it")
    parser.add_argument("--class", dest="label", type=int, default=0, help="class of the images")
    parser.add_argument("--channels", type=int, default=3, help="of Gaussian images")
    parser.add_argument("--side", type=int, default=32, help="of Gaussian images")
    parser.add_argument("--data", help="folder of Parquet files: measure everything on its images")
    parser.add_argument("--widths", nargs="+", type=int, default=(32, 128), help="with --data: widths of the ConvNet")
    parser.add_argument("--images", nargs="+", type=int, default=(1, 10, 50), help="with --data: synthetic images per class")
    parser.add_argument("--steps", nargs="+", type=int, default=(0, 50), help="with --data: steps for which the network is trained")
    parser.add_argument("--iterations", type=int, default=3, help="with --data: iterations of a distillation that are timed")
    parser.add_argument("--oracle-up-to", type=int, default=1, help="with --data: synthetic images up to which the definition is the truth")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    clock = CLOCKS[arguments.clock]
    print(
        f"{arguments.threads} of {os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}, "
        f"median of {arguments.repeat}, {arguments.clock} time"
    )
    if arguments.data is None:
        side_by_side(arguments, clock)
        return
    ite_estimators.run(arguments, clock)
    with TemporaryDirectory() as root:
        arguments.dataset = ingest(IngestConfig(source="parquet", uri=arguments.data), root)
        side_by_side(arguments, clock)
        dataset = open_dataset(arguments.dataset)
        for device in devices():
            for method in arguments.methods:
                print(f"on {device}: ", end="")
                config = PipelineConfig(dataset="cifar10", method=method, distill={"network": {"width": arguments.width}})
                adaptive.report(config, dataset, device, arguments.iterations, arguments.repeat, clock_on(device, clock))


def side_by_side(arguments: argparse.Namespace, clock: Clock) -> None:
    """Ours and the generic implementation on one class batch, every method and device."""
    for device in devices():
        compare(arguments, device, clock_on(device, clock))


def compare(arguments: argparse.Namespace, device: torch.device, clock: Clock) -> None:
    """The same on one device."""
    problem = draw_problem(arguments, device)
    images = f"{arguments.batch} real and {arguments.synthetic} synthetic images {'x'.join(map(str, problem.real.shape[1:]))}"
    print(f"ConvNet width {arguments.width} depth {arguments.depth}, {images}, on {device}")
    for method in arguments.methods:
        measure(method, problem, arguments.repeat, clock)


if __name__ == "__main__":
    main()
