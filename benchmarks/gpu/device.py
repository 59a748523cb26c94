"""The device that is measured, and a clock that waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch


class Machine:
    """A GPU, or, for a rehearsal, the CPU with tiny sizes."""

    def __init__(self, rehearsal: bool) -> None:
        self.rehearsal = rehearsal
        self.device = torch.device("cpu" if rehearsal else "cuda")

    def pick(self, tiny: Any, real: Any) -> Any:
        """The size for this machine."""
        return tiny if self.rehearsal else real

    def wait(self) -> None:
        """Until everything that was asked of the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, work: Callable[[], Any], repeat: int = 10, warm: int = 3) -> float:
        """Median wall time of `work`, with the device waited for; of one call in a rehearsal."""
        if self.rehearsal:
            repeat = warm = 1
        for _ in range(warm):
            work()
        self.wait()
        found = []
        for _ in range(repeat):
            start = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - start)
        return median(found) * 1e3


def said(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """The row, printed under its name with three digits."""
    short = {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in row.items()}
    print(name, short, flush=True)
    return row


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Products and convolutions in TensorFloat-32, or not."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = on
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """PyTorch's deterministic algorithms, or those that it chooses itself."""
    before = torch.backends.cudnn.deterministic, torch.utils.deterministic.fill_uninitialized_memory
    if on:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = True
        torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic, torch.utils.deterministic.fill_uninitialized_memory = before
