"""One iteration of distillation: this project's against a straightforward loop over the classes.

    python -m benchmarks.step                                # DM and DC, ConvNet of width 128, 10 classes, ipc 1 and 10
    python -m benchmarks.step --width 32 --ipc 1 --methods dsa --repeat 5
    python -m benchmarks.step --device cuda --tf32 --channels-last

The straightforward loop is the formula written down: per class 256 real images in one forward (and backward) pass of
plain torch.nn layers, autograd through the class's synthetic images, one step when all classes are done. Both see the
same networks, batches and augmentation, and must arrive at the same images. They run in turn in one process; medians are
printed. "as installed" is the loop with the C library's own settings, the ratio beside it what a user gains in all; the
other ratio grants the loop this project's allocator settings. Peak memory is that of a process that does nothing else.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp import augment
from bilp.allocator import keep_freed_memory
from bilp.config import DistillConfig, NetworkConfig, PipelineConfig, ReselectConfig
from bilp.data import Dataset
from bilp.distill.guard import Guard
from bilp.distill.initial import initial_state
from bilp.distill.loop import distill
from bilp.distill.sampling import RealPool
from bilp.distill.setting import Setting
from bilp.distill.state import DistillState
from bilp.nets.pooling import AveragePool
from bilp.seeds import generator

LARGEST_ERROR = 1e-3  # of the images' movement


class Noise:
    """Gaussian images with the interface of a dataset's train split."""

    def __init__(self, classes: int, per_class: int, shape: tuple[int, int, int]) -> None:
        self.shape, self.classes = shape, classes
        self.class_names = tuple(str(c) for c in range(classes))
        self.train = self
        self.labels = torch.arange(classes).repeat_interleave(per_class)
        self._images = torch.randn(classes * per_class, *shape, generator=generator(0, "images"))

    def __len__(self) -> int:
        return len(self.labels)

    def by_class(self) -> list[Tensor]:
        """Numbers of the images of each class."""
        return list(torch.arange(len(self.labels)).chunk(self.classes))

    def batch(self, ids: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Images `[n, C, H, W]`."""
        return self._images[ids].to(device)


def prepare(method: str, ipc: int, arguments: argparse.Namespace) -> Setting:
    """The papers' settings for CIFAR-10, on Gaussian images."""
    base = PipelineConfig(dataset="cifar10", method=cast(Any, method), ipc=ipc).distill
    network = NetworkConfig(width=arguments.width)
    changes: dict[str, Any] = {"network": network, "rounds": 1, "batch_real": arguments.batch}
    if arguments.outer_loops is not None:
        changes["outer_loops"] = arguments.outer_loops
    config = DistillConfig.model_validate(base.model_dump() | changes)
    data = Noise(arguments.classes, arguments.batch + max(ipc, 16), (3, arguments.side, arguments.side))
    setting = Setting.assemble(config, ReselectConfig(beta=0.0), RealPool(cast(Dataset, data)), arguments.device)
    if arguments.channels_last:
        setting.network.to(memory_format=cast(Any, torch.channels_last))
    return setting


def ours(setting: Setting, state: DistillState) -> None:
    """One iteration as the program does it."""
    guard = Guard(setting.config.learning_rate, setting.pool.dataset.class_names, math.nan, "")
    distill(setting, state, state.iteration + 1, None, guard)


def straightforward(setting: Setting, state: DistillState) -> None:
    """One iteration as one would write it first."""
    config, network, t = setting.config, setting.network, state.iteration
    setting.draw_network("network", t)
    features = config.method == "dm"
    for outer in range(1 if features else config.outer_loops):
        if outer > 0:
            setting.train_network(state.images, state.labels, t, outer - 1)
        leaf = state.images.clone().requires_grad_()
        for c in range(setting.pool.classes):
            ids = setting.pool.draw(c, config.batch_real, generator(config.seed, "real", t, outer, c))
            params = setting.draw_augmentation("augment", t, outer, c)
            real = augment.apply(setting.pool.images(ids, setting.device), params)
            synthetic = augment.apply(leaf[setting.rows(c)], params)
            loss = feature_loss(network, real, synthetic) if features else gradient_loss(network, real, synthetic, c)
            loss.backward(inputs=[leaf])
        assert leaf.grad is not None
        state.momentum.mul_(config.momentum).add_(leaf.grad)
        state.images = state.images - config.learning_rate * state.momentum
    state.iteration += 1


def feature_loss(network: nn.Module, real: Tensor, synthetic: Tensor) -> Tensor:
    """DM: squared distance of mean embeddings."""
    embed = cast(Callable[[Tensor], Tensor], network.embed)
    return (embed(real).mean(0).detach() - embed(synthetic).mean(0)).square().sum()


def gradient_loss(network: nn.Module, real: Tensor, synthetic: Tensor, label: int) -> Tensor:
    """DC: one minus the cosine, over all rows of the gradients of weights."""
    parameters = [parameter for parameter in network.parameters() if parameter.dim() >= 2]
    labels = [torch.full((len(images),), label, device=images.device) for images in (real, synthetic)]
    wanted = torch.autograd.grad(functional.cross_entropy(network(real), labels[0]), parameters)
    found = torch.autograd.grad(functional.cross_entropy(network(synthetic), labels[1]), parameters, create_graph=True)
    total = torch.zeros((), device=real.device)
    for one, other in zip(wanted, found, strict=True):
        a, b = one.flatten(1), other.flatten(1)
        total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return total


def plain_layers(setting: Setting) -> None:
    """Put PyTorch's own pooling back."""
    for name, module in list(setting.network.body.named_children()):
        if isinstance(module, AveragePool):
            setattr(setting.network.body, name, nn.AvgPool2d(module.kernel_size, module.stride))


WORK: dict[str, Callable[[Setting, DistillState], None]] = {"straightforward": straightforward, "ours": ours}


class Runner:
    """One implementation, from the common beginning."""

    def __init__(self, name: str, method: str, ipc: int, arguments: argparse.Namespace) -> None:
        self._work = WORK[name]
        self._setting = prepare(method, ipc, arguments)
        if name == "straightforward":
            plain_layers(self._setting)
        self.state = initial_state(self._setting.config, self._setting.pool).to(arguments.device)
        self.start = self.state.images.clone()
        self._device = torch.device(arguments.device)

    def step(self) -> float:
        """Seconds of one iteration: CPU time, or on another device the time until it is done."""
        cuda = self._device.type == "cuda"
        clock = time.perf_counter if cuda else time.process_time
        start = clock()
        self._work(self._setting, self.state)
        if cuda:
            torch.cuda.synchronize(self._device)
        return clock() - start


def set_up(arguments: argparse.Namespace) -> None:
    """Threads and precision of this process."""
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = arguments.tf32
    torch.backends.cudnn.allow_tf32 = arguments.tf32


def resident_peak() -> int:
    """Largest resident size of this process so far, in bytes. On Linux only: ru_maxrss would be that of the parent, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def peak(name: str, method: str, ipc: int, arguments: argparse.Namespace, answer: Any) -> None:
    """Put the bytes that two iterations added to the peak of a fresh process, or of its GPU."""
    set_up(arguments)
    if name == "ours":
        keep_freed_memory()
    runner = Runner(name, method, ipc, arguments)
    cuda = torch.device(arguments.device).type == "cuda"
    before = resident_peak()
    for _ in range(2):
        runner.step()
    answer.put(torch.cuda.max_memory_allocated() if cuda else resident_peak() - before)


def peak_of(name: str, method: str, ipc: int, arguments: argparse.Namespace) -> int:
    """The same, asked from here."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=peak, args=(name, method, ipc, arguments, answer))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"the process that measures the memory of {name} ended with {process.exitcode}")
    return int(answer.get())


def installed(method: str, ipc: int, arguments: argparse.Namespace) -> float:
    """Median seconds of the straightforward loop before the allocator is touched."""
    runner = Runner("straightforward", method, ipc, arguments)
    runner.step()
    return median(runner.step() for _ in range(arguments.repeat))


def compare(method: str, ipc: int, before: float, arguments: argparse.Namespace) -> None:
    """Run both in turn, check that they agree, print."""
    runners = {name: Runner(name, method, ipc, arguments) for name in WORK}
    seconds: dict[str, list[float]] = {name: [] for name in WORK}
    for repetition in range(arguments.repeat + 1):
        for name, runner in runners.items():
            value = runner.step()
            if repetition:
                seconds[name].append(value)
    one, other = runners["straightforward"], runners["ours"]
    error = float((one.state.images - other.state.images).norm() / (one.state.images - one.start).norm())
    if error > LARGEST_ERROR and not arguments.tf32:
        raise SystemExit(f"{method}: after {arguments.repeat + 1} iterations the images differ by {error:.1e}: one of the two is wrong")
    memory = {name: peak_of(name, method, ipc, arguments) / 2**20 for name in WORK}
    slow, fast = median(seconds["straightforward"]), median(seconds["ours"])
    print(
        f"{method} ipc {ipc}: as installed {before:.3f} s, with our allocator {slow:.3f} s, ours {fast:.3f} s; "
        f"ratio {before / fast:.2f} and {slow / fast:.2f}; "
        f"peak {memory['straightforward']:.0f} and {memory['ours']:.0f} MiB; images differ by {error:.0e} of their movement",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=("dm", "dc", "dsa"), default=("dm", "dc"))
    parser.add_argument("--ipc", nargs="+", type=int, default=(1, 10), help="synthetic images per class")
    parser.add_argument("--width", type=int, default=128, help="channels of the ConvNet")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--batch", type=int, default=256, help="real images per class")
    parser.add_argument("--side", type=int, default=32, help="pixels")
    parser.add_argument("--outer-loops", type=int, help="image steps per iteration of DC; the paper's without it")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--repeat", type=int, default=3, help="iterations that are timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tf32", action="store_true", help="GPU: multiply in TensorFloat-32")
    parser.add_argument("--channels-last", action="store_true", help="GPU: keep weights and maps with channels last")
    arguments = parser.parse_args()
    set_up(arguments)
    print(
        f"ConvNet width {arguments.width}, {arguments.classes} classes, {arguments.batch} real images per class, {arguments.device}, "
        f"{arguments.threads} of {os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}, median of {arguments.repeat}"
    )
    cases = [(method, ipc) for method in arguments.methods for ipc in arguments.ipc]
    before = {case: installed(*case, arguments) for case in cases}
    keep_freed_memory()
    for case in cases:
        compare(*case, before[case], arguments)


if __name__ == "__main__":
    main()
