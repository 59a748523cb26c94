"""The device that is measured, a clock that waits for it, and rows of figures within a budget of seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from bilp.nets.arithmetic import _Switches


class Machine:
    """A GPU, or, for a rehearsal, the CPU with tiny sizes."""

    def __init__(self, rehearsal: bool) -> None:
        self.rehearsal = rehearsal
        self.device = torch.device("cpu" if rehearsal else "cuda")
        self.until = math.inf
        """When the part that runs has to end, on the clock of `time.perf_counter`."""

    @property
    def left(self) -> float:
        """Seconds that the part still has."""
        return self.until - time.perf_counter()

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
def any_algorithm() -> Iterator[None]:
    """Inside, PyTorch chooses the algorithms of a GPU, as it does by itself, and not the program: to see what that costs."""
    chosen = _Switches.of
    with patch.object(_Switches, "of", lambda kind: chosen(kind)._replace(only_deterministic=False, cudnn_deterministic=False)):
        yield


def rows(machine: Machine, names: Iterable[str], one: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """A row for each name; one that fails says so, and so does one for which the part has no time left."""
    found = {}
    for name in names:
        if machine.left <= 0:
            row: dict[str, Any] = {"left out": "no time"}
        else:
            try:
                row = one(name)
            except Exception as error:  # the others' minutes are dear
                row = {"error": f"{type(error).__name__}: {error}"[:300]}
        found[name] = said(name, row)
    return found
