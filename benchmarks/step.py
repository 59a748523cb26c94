"""One iteration of distillation: this project's against a straightforward loop over the classes.

    python -m benchmarks.step                                # DM and DC, ConvNet of width 128, 10 classes, ipc 1 and 10
    python -m benchmarks.step --width 32 --ipc 1 --methods dsa --repeat 5
    python -m benchmarks.step --methods idc --ipc 1 --set outer_loops=3 --set idc.train_samples=500   # shorter inner loops
    python -m benchmarks.step --set dm:real_pass=compiled --set dc:real_pass=bfloat16 --beside real_pass=float32
    python -m benchmarks.step --methods idc idm mtt --gpu-forms
    python -m benchmarks.step --device cuda --tf32 --channels-last

The straightforward loops (`benchmarks.references`) are the formulas written down: whole batches in one forward (and
backward) pass of plain torch.nn layers, autograd through the class's synthetic images. Both see the same networks, batches
and augmentation, and must arrive at the same images. They run in turn in one process; medians are printed. "as installed" is
the loop with the C library's own settings, the ratio beside it what a user gains in all; the other ratio grants the loop this
project's allocator settings. Peak memory is that of a process that does nothing else. With `--beside` this project also runs with other
settings, in turn with the two, and the last column says how many times as long it then takes.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.references import REFERENCES, Reference
from benchmarks.step_settings import prepare
from bilp.allocator import keep_freed_memory
from bilp.config.real_passes import REAL_PASSES
from bilp.distill.loops import class_steps
from bilp.distill.loops.registry import loop_for
from bilp.distill.step import representatives
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.matching import trajectory_forms
from bilp.progress import silent

LARGEST_ERROR = 1e-3  # of the images' movement, unless a setting rounds more


class Ours:
    """The program's own loop, one iteration at a time."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        self._setting, self._state = setting, state
        self.images = state.images

    def iteration(self, t: int) -> None:
        """See Reference."""
        guard = Guard(self._setting.config.learning_rate, self._setting.pool.dataset.class_names, math.nan, "")
        loop_for(self._setting.config.method)(self._setting, self._state, t + 1, None, guard, silent)
        self.images = self._state.images


class Runner:
    """One implementation, from the common beginning."""

    def __init__(self, name: str, method: str, ipc: int, arguments: argparse.Namespace, forms: bool = False) -> None:
        """With `forms`, ours takes all classes at once and follows a trajectory on one vector, as it does on a GPU."""
        self._forms = forms
        setting = prepare(method, ipc, arguments)
        state = initial_state(setting.config, setting.pool, experts=setting.inputs.experts, device=arguments.device).to(arguments.device)
        self.start = state.images.clone()
        self.loop: Reference | Ours = (REFERENCES[method] if name == "straightforward" else Ours)(setting, state)
        self.rounding = REAL_PASSES[setting.config.real_pass].rounding
        self._done, self._device = 0, torch.device(arguments.device)

    def step(self) -> float:
        """Seconds of one iteration: CPU time, or on another device the time until it is done."""
        cuda = self._device.type == "cuda"
        clock = time.perf_counter if cuda else time.process_time
        start = clock()
        with as_on_gpus() if self._forms else nullcontext():
            self.loop.iteration(self._done)
        if cuda:
            torch.cuda.synchronize(self._device)
        self._done += 1
        return clock() - start


@contextmanager
def as_on_gpus() -> Iterator[None]:
    """Inside, the methods' forms for GPUs are those of a CPU, too."""
    with ExitStack() as stack:
        for module in (class_steps, representatives):
            stack.enter_context(patch.object(module, "together_on", lambda device: True))
        stack.enter_context(patch.object(trajectory_forms, "REFERENCE", "none"))
        yield


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
    runners = {name: Runner(name, method, ipc, arguments, name == "ours" and arguments.gpu_forms) for name in ("straightforward", "ours")}
    if arguments.beside or arguments.gpu_forms:
        runners["beside"] = Runner("ours", method, ipc, argparse.Namespace(**vars(arguments) | {"set": arguments.set + arguments.beside}))
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for repetition in range(arguments.repeat + 1):
        for name, runner in runners.items():
            value = runner.step()
            if repetition:
                seconds[name].append(value)
    one, other = runners["straightforward"], runners["ours"]
    error = float((one.loop.images - other.loop.images).norm() / (one.loop.images - one.start).norm())
    if not error <= max(LARGEST_ERROR, other.rounding) and not arguments.tf32:
        raise SystemExit(f"{method}: after {arguments.repeat + 1} iterations the images differ by {error:.1e}: one of the two is wrong")
    asked = () if arguments.no_peak else ("straightforward", "ours")
    memory = {name: f"{peak_of(name, method, ipc, arguments) / 2**20:.0f}" for name in asked}
    slow, fast = median(seconds["straightforward"]), median(seconds["ours"])
    print(
        f"| {method} | {ipc} | {before:.3f} | {slow:.3f} | {fast:.3f} | {before / fast:.2f} | {slow / fast:.2f} "
        f"| {memory.get('straightforward', '')} | {memory.get('ours', '')} | {error:.0e} |"
        + (f" {median(seconds['beside']):.3f} | {median(seconds['beside']) / fast:.2f} |" if "beside" in runners else ""),
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=tuple(REFERENCES), default=("dm", "dc"))
    parser.add_argument("--ipc", nargs="+", type=int, default=(1, 10), help="synthetic images per class")
    parser.add_argument("--width", type=int, default=128, help="channels of the ConvNet")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--batch", type=int, help="real images per class in a step; the paper's without it")
    parser.add_argument("--per-class", type=int, help="real images per class in the data set; as many as in a step without it")
    parser.add_argument("--side", type=int, default=32, help="pixels")
    parser.add_argument("--set", action="append", default=[], help="[method:]path=value of a setting below distill; the paper's without it")
    parser.add_argument("--beside", action="append", default=[], help="the same, of a further run beside the others")
    parser.add_argument("--no-peak", action="store_true", help="leave out the memory, which takes two further processes")
    parser.add_argument("--gpu-forms", action="store_true", help="ours in the forms that it has on GPUs, beside it in those of a CPU")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--repeat", type=int, default=3, help="iterations that are timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tf32", action="store_true", help="GPU: multiply in TensorFloat-32")
    parser.add_argument("--channels-last", action="store_true", help="GPU: keep weights and maps with channels last")
    arguments = parser.parse_args()
    set_up(arguments)
    print(
        f"ConvNet width {arguments.width}, {arguments.classes} classes, {arguments.device}, {arguments.threads} of {os.cpu_count()} cores "
        f"({platform.machine()}), torch {torch.__version__}, median of {arguments.repeat}; other than in the papers: "
        f"{', '.join(arguments.set) or 'nothing'}; beside: {', '.join(arguments.beside) or 'nothing'}; "
        f"load at the beginning {os.getloadavg()[0]:.1f}\n"
    )
    more = " beside, s | over ours |" if arguments.beside or arguments.gpu_forms else ""
    print(
        f"| method | ipc | as installed, s | our allocator, s | ours, s | ratio | ratio | peak, MiB | ours, MiB | images differ by |{more}"
    )
    print(f"|---|---|---|---|---|---|---|---|---|---|{'---|---|' if more else ''}", flush=True)
    cases = [(method, ipc) for method in arguments.methods for ipc in arguments.ipc]
    before = {case: installed(*case, arguments) for case in cases}
    keep_freed_memory()
    for case in cases:
        compare(*case, before[case], arguments)


if __name__ == "__main__":
    main()
