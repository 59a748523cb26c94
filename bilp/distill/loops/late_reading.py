"""Numbers of a device that its host reads late and together: each reading waits until everything before it is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor


class Reading:
    """Numbers that wait on a device until somebody has to know one of them; a CPU, which nobody waits for, is read at once."""

    def __init__(self, device: torch.device) -> None:
        """Nothing waits yet."""
        self._at_once = device.type == "cpu"
        self._waiting: list[tuple[Tensor, Callable[[list[float]], object]]] = []

    def take(self, values: Tensor, hand: Callable[[list[float]], object]) -> None:
        """Give the values, of any shape, to `hand` as a flat list once they are read; they must not change meanwhile.

        They are read as float32, unless some are of a longer type.
        """
        self._waiting.append((values.detach().flatten(), hand))
        if self._at_once:
            self.read()

    def read(self) -> None:
        """Hand out, in the order in which they came, all that wait, from one transfer. Raises what a receiver raises."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        numbers = torch.cat([values for values, _ in waiting]).tolist()
        for values, hand in waiting:
            own, numbers = numbers[: len(values)], numbers[len(values) :]
            hand(own)


class Course:
    """How much the last few of several shares vary, whose counts are made on the device."""

    def __init__(self, watched: int, reading: Reading) -> None:
        """The last `watched` are looked at, at least two."""
        self._reading, self._recent = reading, deque[float](maxlen=watched)
        self._count = 0

    def add(self, found: Tensor, among: int) -> None:
        """The next one: `found`, a scalar, of so many."""
        self._count += 1
        self._reading.take(found, lambda numbers: self._recent.append(numbers[0] / among))

    @property
    def spread(self) -> float:
        """Largest minus smallest of the last ones; nan while there are too few, which nobody reads for that."""
        watched = self._recent.maxlen
        if watched is None or self._count < watched:
            return float("nan")
        self._reading.read()
        return max(self._recent) - min(self._recent)
