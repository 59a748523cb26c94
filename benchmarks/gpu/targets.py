"""What the measured figures should be on one H100 or H200, and whether they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bilp.config.arithmetics import PAPERS

Found = Mapping[str, Any]
"""What `gpu.json` holds: the rows of each part."""


@dataclass(frozen=True)
class Target:
    """A figure with a bound."""

    what: str
    measure: Callable[[Found], float]
    bound: float
    at_least: bool
    unit: str = ""

    def met(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def words(self, value: float) -> str:
        """'6.2x, at least 5x: yes'."""
        word = "at least" if self.at_least else "at most"
        return f"{value:.3g}{self.unit}, {word} {self.bound:g}{self.unit}: {'yes' if self.met(value) else 'no'}"


def over_loop(method: str, gpu: str) -> Callable[[Found], float]:
    """How many times as fast an iteration is, in an arithmetic, as the loop over classes, at ipc 1 in the arithmetic of the papers."""

    def ratio(found: Found) -> float:
        ours, loop = (found["steps"][f"{method} ipc 1, {kind}, float32"] for kind in (gpu, PAPERS))
        return float(loop["loop over classes"] / ours["ours"])

    return ratio


def together(found: Found) -> float:
    """How many times as fast as in turn the networks of an evaluation are trained at once, at ipc 10 with augmentation."""
    row = found["evaluation"]["dsa ipc 10"]
    in_turn, at_once = (next(value for name, value in row.items() if word in name and "True" in name) for word in ("in turn", "together"))
    return float(in_turn / at_once)


def most_extra(found: Found) -> float:
    """The largest share in percent that reselections add to an experiment."""
    return 100 * max(float(row["effects add"]) for row in found["experiments"].values())


def scored(found: Found) -> float:
    """Seconds in which ten networks score as many images as CIFAR-10 has."""
    (row,) = found["scoring"].values()
    return float(row["10 trials s"])


def minutes(experiment: str) -> Callable[[Found], float]:
    """Minutes of all iterations of an experiment."""
    return lambda found: float(found["experiments"][experiment]["minutes"])


TARGETS = (
    *(
        Target(f"{method.upper()}, ipc 1, {gpu}, beside the loop over classes", over_loop(method, gpu), 5, True, "x")
        for method in ("dm", "dc", "dsa")
        for gpu in (PAPERS, "fused")
    ),
    Target("20 networks of an evaluation at ipc 10, beside one after the other", together, 10, True, "x"),
    Target("what causal effects add to an experiment", most_extra, 3, False, " %"),
    Target("CIFAR-10 scored by 10 networks", scored, 60, False, " s"),
    Target("DC, ipc 10, the whole distillation", minutes("dc ipc 10"), 4, False, " min"),
)


def judged(found: Found) -> Iterator[tuple[Target, float | None]]:
    """Every target with the figure that was found for it; None where its part was not run, or failed."""
    for target in TARGETS:
        try:
            yield target, target.measure(found)
        except (KeyError, TypeError, ValueError, StopIteration):
            yield target, None
