"""The registry of ways in which real samples pass the network on their way to a mean: in which numbers, by which code.

A further way is one entry here, and the module that it names, which makes a `bilp.nets.network.Network` that shares the parameters of
the run's own. Which of them a method takes is said by its entry (`Method.real_passes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class RealPass:
    """One way."""

    name: str
    network: str = ""
    """"module:name" of what makes, of a network, the shape of a sample and the device, the one that real samples pass; empty for
    the network itself."""
    check: str = ""
    """"module:name" of what raises ConfigError if a device cannot do it; empty if every one can."""
    rounding: float = 0.0
    """Largest difference of an image step from that of float32, by its length, that is rounding."""
    from_iterations: int = 1
    """Runs of fewer iterations do without: what it takes to begin would not be earned back."""


OWN = (
    RealPass("float32"),
    RealPass(
        "compiled",
        network="bilp.nets.compiled:compiled",
        check="bilp.nets.compiled:require_cpu",
        rounding=1e-3,
        from_iterations=300,  # where each of ten rounds has a process of its own, too, at the size of CIFAR-10 (benchmarks/records.md)
    ),
    RealPass(
        "bfloat16",
        network="bilp.nets.short_numbers:in_bfloat16",
        check="bilp.nets.short_numbers:require_bfloat16",
        rounding=0.2,
    ),
)

REAL_PASSES: Registry[RealPass] = Registry("real pass", RealPass, OWN)
RealPassName = Annotated[str, EntryName("bilp.config.real_passes:REAL_PASSES")]
DEFAULT_REAL_PASS = OWN[0].name
EXACT_OR_SHORT = (OWN[0].name, OWN[2].name)
"""Ways of whatever forms a mean of vectors."""
EVERY_WAY = tuple(entry.name for entry in OWN)
"""Ways of what forms a mean of features, which needs no derivative."""
