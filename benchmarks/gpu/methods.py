"""Every method's iteration: does the device agree with the CPU and with itself, how long does it take, what does it launch?"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.device import Machine, deterministic, said, tf32
from benchmarks.gpu.iterations import SHORT, beginning, config_for, images_of
from benchmarks.straightforward import SummedLoop, plain_layers
from bilp.config import METHODS, DistillConfig

EVERY = tuple(METHODS)
REPEATED = ("dm", "dc", "dsa", "idc", "mtt")
"""One method of each kind of loop, for what is asked of all kinds."""
# Method, images per class, changed settings: what papers report most, and the inner loop of gradient matching.
TIMED: list[tuple[str, int, dict[str, Any]]] = [
    ("dm", 1, {}),
    ("dm", 10, {}),
    ("dc", 1, {}),
    ("dsa", 1, {}),
    ("dsa", 10, {"outer_loops": 2, "inner_epochs": 10}),
]
ENOUGH = 300
"""Real images per class."""


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

    return every(EVERY, one)


def same_bytes(machine: Machine) -> dict[str, Any]:
    """The same iterations twice: equal bytes? With PyTorch's own choice of algorithms and with deterministic ones, and their time."""

    def one(method: str, on: bool) -> dict[str, Any]:
        config = config_for(method, 2, machine.pick(16, 128), machine.pick(16, 64), {**SHORT.get(method, {}), "gpu": "tf32"})
        number = machine.pick(2, 3)
        with deterministic(on):
            (first, _), (second, spent) = (last_of(images_of(config, machine.device), number, machine) for _ in range(2))
        return {"equal": bool(torch.equal(first, second)), "differs": float((first - second).abs().max()), "ms": spent / number}

    return {
        **every(REPEATED, lambda method: one(method, False)),
        **{f"{k} deterministic": v for k, v in every(REPEATED, lambda m: one(m, True)).items()},
    }


def steps(machine: Machine) -> dict[str, Any]:
    """Milliseconds per iteration at the papers' settings by arithmetic, beside a loop over the classes as one would write it first."""
    rows: dict[str, Any] = {}
    for method, ipc, changes in machine.pick(TIMED[:2], TIMED):
        for gpu in ("float32", "tf32", "tf32_channels_last"):
            config = config_for(method, ipc, machine.pick(16, 128), machine.pick(16, 256), {**changes, "gpu": gpu})
            images = images_of(config, machine.device, ENOUGH)
            next(images)
            row = {"ours": machine.milliseconds(lambda images=images: next(images), 5, 2)}
            if gpu == "tf32" and not changes:
                with tf32(True):
                    row["loop over classes"] = machine.milliseconds(first_thought(config, machine.device), 5, 2)
            rows[f"{method} ipc {ipc} {gpu}"] = said(f"{method} ipc {ipc} {gpu}", row)
    return rows


def kernels(machine: Machine) -> dict[str, Any]:
    """Kernels and copies of one iteration and how long the device is busy with them, from the profiler."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if machine.device.type == "cuda" else [])]

    def one(method: str) -> dict[str, Any]:
        images = images_of(
            config_for(method, 1, machine.pick(16, 128), machine.pick(16, 256), {**SHORT.get(method, {}), "gpu": "tf32"}),
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

    return every(REPEATED, one)


def every(methods: tuple[str, ...], one: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """A row per method; a method that fails says so in its row."""
    rows = {}
    for method in methods:
        try:
            row = one(method)
        except Exception as error:  # the others' minutes are dear
            row = {"error": f"{type(error).__name__}: {error}"[:300]}
        rows[method] = said(method, row)
    return rows


def last_of(images: Iterator[Tensor], number: int, machine: Machine) -> tuple[Tensor, float]:
    """The images after one iteration and then `number` more, and the milliseconds of these."""
    for _ in range(2):
        next(images)
    machine.wait()
    start = time.perf_counter()
    for _ in range(number):
        last = next(images)
    machine.wait()
    return last.cpu().clone(), (time.perf_counter() - start) * 1e3


def first_thought(config: DistillConfig, device: torch.device) -> Callable[[], None]:
    """An iteration of the loop over classes, on PyTorch's own layers."""
    setting, state = beginning(config, device, ENOUGH)
    plain_layers(setting.network)
    loop, numbers = SummedLoop(setting, state), count()
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
