"""Every method's iteration: does the device agree with the CPU and with itself, how long does it take, what does it launch?"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch

from benchmarks.gpu.clocked import milliseconds_each
from benchmarks.gpu.device import Machine, any_algorithm, rows
from benchmarks.gpu.iterations import SHORT, beginning, config_for, images_of
from benchmarks.references import REFERENCES
from bilp.config import METHODS, DistillConfig
from bilp.config.arithmetics import FLOAT32, PAPERS
from bilp.config.methods import optimizing
from bilp.config.real_passes import DEFAULT_REAL_PASS, REAL_PASSES
from bilp.errors import BilpError
from bilp.registry import resolve

EVERY = tuple(optimizing())
REPEATED = ("dm", "dc", "dsa", "idc", "mtt")
"""One method of each kind of loop, for what is asked of all kinds."""
# Method, images per class, changed settings: what papers report most, and the inner loop of gradient matching.
TIMED: dict[str, tuple[str, int, dict[str, Any]]] = {
    "dm ipc 1": ("dm", 1, {}),
    "dc ipc 1": ("dc", 1, {}),
    "dsa ipc 1": ("dsa", 1, {}),
    "dm ipc 10": ("dm", 10, {}),
    "dsa ipc 10": ("dsa", 10, {"outer_loops": 2, "inner_epochs": 10}),
}
ENOUGH = 300
"""Real images per class."""
IN_DOUBT = 8
"""Iterations after the first graphs that are compared byte by byte."""


def agree(machine: Machine) -> dict[str, Any]:
    """One iteration on the CPU and on the device: distance of the images as a part of the step, and waits of the host.

    A difference of 1e-2 can be one ReLU that flipped; 1 is a fault.
    """

    def one(method: str) -> dict[str, Any]:
        config = config_for(method, 1, 16, machine.pick(16, 32), SHORT.get(method))
        at_home = images_of(config, torch.device("cpu"))
        start, expected = next(at_home), next(at_home)
        away = images_of(config, machine.device)
        next(away)
        with Waits(machine) as told:
            found = next(away)
        return {"differs": float((found.cpu() - expected).norm() / (expected - start).norm()), "waits": len(told)}

    return rows(machine, EVERY, one)


def same_bytes(machine: Machine) -> dict[str, Any]:
    """The same iterations twice, by graphs where there are any: equal bytes?

    First as the program computes, with deterministic algorithms alone: anything but equal bytes is a fault. Then with PyTorch's own
    choice of algorithms, whose bytes may be equal by chance, to see what being deterministic costs.
    """

    def one(method: str) -> dict[str, Any]:
        config = config_for(method, 2, machine.pick(16, 128), machine.pick(16, 64), SHORT.get(method, {}) | {"gpu": PAPERS})
        equal, apart, spent = twice(machine, config)
        with any_algorithm():
            by_chance, _, free = twice(machine, config)
        row = {"equal": equal, "ms": spent, "equal, any algorithm": by_chance, "ms, any algorithm": free}
        return row if equal else row | {"error": f"the same iterations gave other bytes: they differ by up to {apart:.3g}"}

    return rows(machine, REPEATED, one)


def twice(machine: Machine, config: DistillConfig) -> tuple[bool, float, float]:
    """Whether two runs arrive at the same bytes, the largest difference, and milliseconds of an iteration."""
    found, spent = [], []
    for _ in range(2):
        setting, state = beginning(config, machine.device)
        spent.append(milliseconds_each(machine, setting, state, IN_DOUBT))
        found.append(state.images.detach().cpu())
    return bool(torch.equal(*found)), float((found[0] - found[1]).abs().max()), min(spent)


def steps(machine: Machine) -> dict[str, Any]:
    """Milliseconds of an iteration at the papers' settings: by arithmetic and by what real samples pass; beside that, in the arithmetic
    of the papers, a loop over the classes as one would write it first.
    """

    def one(name: str) -> dict[str, Any]:
        case, gpu, way = name.split(", ")
        method, ipc, changes = TIMED[case]
        config = config_for(method, ipc, machine.pick(16, 128), machine.pick(16, 256), changes | {"gpu": gpu, "real_pass": way})
        if (check := REAL_PASSES[way].check) and (told := refused(check, machine.device)):
            return {"refused": told}
        row = {"ours": milliseconds_each(machine, *beginning(config, machine.device, ENOUGH))}
        if gpu == PAPERS and way == DEFAULT_REAL_PASS and not changes:  # as PyTorch by itself computes
            row["loop over classes"] = machine.milliseconds(first_thought(config, machine.device), 5, 2)
        return row

    return rows(machine, list(compared(machine)), one)


def compared(machine: Machine) -> Iterator[str]:
    """Names of the rows of `steps`: the case, the arithmetic, and what real samples pass. The first ones say most."""
    cases = machine.pick(("dm ipc 1", "dc ipc 1"), tuple(TIMED))
    for gpu in (PAPERS, "fused", FLOAT32):
        yield from (f"{case}, {gpu}, {DEFAULT_REAL_PASS}" for case in cases)
    for case in cases:
        yield from (f"{case}, {PAPERS}, {way}" for way in METHODS[TIMED[case][0]].real_passes if way != DEFAULT_REAL_PASS)


def refused(check: str, device: torch.device) -> str:
    """Why a device cannot do a way of passing real samples; empty if it can."""
    try:
        resolve(check)(device)
    except BilpError as error:
        return str(error)
    return ""


def kernels(machine: Machine) -> dict[str, Any]:
    """Kernels and copies of one iteration, launched one by one, and how long the device is busy with them, from the profiler."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if machine.device.type == "cuda" else [])]

    def one(method: str) -> dict[str, Any]:
        images = images_of(
            config_for(method, 1, machine.pick(16, 128), machine.pick(16, 256), SHORT.get(method, {}) | {"gpu": PAPERS}),
            machine.device,
            ENOUGH,
        )
        for _ in range(2):
            next(images)
        machine.wait()
        with profile(activities=activities) as seen:
            start = time.perf_counter()
            next(images)
            machine.wait()
            wall = (time.perf_counter() - start) * 1e3
        on_device = [event for event in seen.events() if str(event.device_type).endswith("CUDA")]
        return {"kernels and copies": len(on_device), "busy ms": sum(event.device_time for event in on_device) / 1e3, "wall ms": wall}

    return rows(machine, REPEATED, one)


def first_thought(config: DistillConfig, device: torch.device) -> Callable[[], None]:
    """An iteration of the loop over classes, on PyTorch's own layers."""
    setting, state = beginning(config, device, ENOUGH)
    loop, numbers = REFERENCES[config.method](setting, state), count()
    return lambda: loop.iteration(next(numbers))


class Waits:
    """Warnings of PyTorch about operations that make the host wait for the device."""

    def __init__(self, machine: Machine) -> None:
        self._on_gpu = machine.device.type == "cuda"
        self._caught = warnings.catch_warnings(record=True)
        self._all: list[warnings.WarningMessage] = []

    def __enter__(self) -> Waits:
        self._all = self._caught.__enter__() or []
        warnings.simplefilter("always")
        if self._on_gpu:
            torch.cuda.set_sync_debug_mode("warn")
        return self

    def __exit__(self, *failure: object) -> None:
        if self._on_gpu:
            torch.cuda.set_sync_debug_mode("default")
        self._caught.__exit__(*failure)

    def __len__(self) -> int:
        return sum("synchroniz" in str(warning.message) for warning in self._all)
