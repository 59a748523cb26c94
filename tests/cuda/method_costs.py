"""PYTHONPATH=. python tests/cuda/method_costs.py

What an iteration of each method asks of a GPU: as it was before this was counted, in a loop over the classes as one would write it
first, now with every operation launched by itself, and now as it runs.

At one synthetic image per class of CIFAR-10, with a ConvNet of width 8 and 8 real images per class, which lie on the device, and with inner
loops cut short (`benchmarks.gpu.iterations.SHORT`), on the pretended device. The second iteration is counted; "as it runs" is one of many
in a call, after its graphs were recorded. docs/gpu.md holds the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from launch_counts import Counts
from pretend_cuda import pretend_cuda

from benchmarks.gpu.clocked import at_both_ends
from benchmarks.gpu.iterations import SHORT, advance, beginning, config_for
from benchmarks.references import REFERENCES
from bilp.capture.captured_step import WARM_UPS
from bilp.config import DistillConfig
from bilp.config.methods import optimizing
from bilp.distill.loops import captured
from bilp.distill.loops.registry import loop_for

CUDA = torch.device("cuda")


class Asked(NamedTuple):
    """Of an iteration."""

    launches: float
    waits: float
    bytes_up: float

    @classmethod
    def now(cls, counts: Counts) -> Asked:
        """What was counted up to now."""
        return cls(counts.launches, sum(counts.waits.values()), counts.copied_bytes)

    def since(self, before: Asked, iterations: int) -> Asked:
        """What an iteration asked between two countings."""
        return Asked(*((late - early) / iterations for late, early in zip(self, before, strict=True)))

    def __str__(self) -> str:
        return f"{self.launches:,.0f} | {self.waits:.3g} | {_short(self.bytes_up)}"


BEFORE = {
    "dm": Asked(829, 1, 994_226),
    "dc": Asked(1717, 1, 993_768),
    "dsa": Asked(2342, 1, 994_226),
    "idc": Asked(11_107, 4, 13_106_912),
    "dream": Asked(11_644, 84, 20_971_872),
    "idm": Asked(1930, 5, 13_615_322),
    "mtt": Asked(2421, 3, 22_608),
    "tesla": Asked(2802, 3, 23_048),
    "cafe": Asked(2786, 10, 33_434_248),
}
"""The second iteration at the same settings at commit 6bac498, the first that could be counted; no device kept the real images then."""

NEVER = "– | – | –"
"""Of methods that were not there then."""


def costs(method: str) -> dict[str, Asked | str]:
    """By the names of the columns."""
    config = config_for(method, 1, 8, 8, SHORT.get(method))
    return {
        "before": BEFORE.get(method, NEVER),
        "loop over classes": loop(config),
        "one by one": one_by_one(config),
        "as it runs": as_it_runs(config),
    }


def loop(config: DistillConfig) -> Asked:
    """The loop over the classes."""
    with pretend_cuda() as counts:
        reference = REFERENCES[config.method](*beginning(config, CUDA))
        return _second(counts, reference.iteration)


def one_by_one(config: DistillConfig) -> Asked:
    """In calls of one iteration each, in which nothing is repeated often enough for graphs but what an iteration itself repeats."""
    with pretend_cuda() as counts:
        setting, state = beginning(config, CUDA)
        return _second(counts, lambda number: advance(setting, state))


def as_it_runs(config: DistillConfig) -> Asked:
    """In one call, whose losses are read together where the method's loop is captured as a whole."""
    together = loop_for(config.method) is captured.distill
    first, more = (captured.READ_EVERY, captured.READ_EVERY) if together else (WARM_UPS + 1, 1)
    with pretend_cuda() as counts:
        start, end = at_both_ends(*beginning(config, CUDA), first, more, lambda: Asked.now(counts))
    return end.since(start, more)


def _second(counts: Counts, iteration: Callable[[int], object]) -> Asked:
    iteration(0)
    start = Asked.now(counts)
    iteration(1)
    return Asked.now(counts).since(start, 1)


def _short(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} KB"


def row(method: str) -> str:
    """The row of a method."""
    return f"| `{method}` | {' | '.join(map(str, costs(method).values()))} |"


HEAD = (
    "| | before | | | loop over classes | | | one by one | | | as it runs | | |\n"
    f"|---|{'---|' * 12}\n"
    f"| method |{' launches | waits | up |' * 4}"
)


def main() -> None:
    """Print the table."""
    print(HEAD)
    for method in optimizing():
        print(row(method), flush=True)


if __name__ == "__main__":
    main()
