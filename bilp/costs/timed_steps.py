"""How long real steps take on this device, beside what the profile's formula says of the same work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bilp.costs.network_cost import NetworkCost
from bilp.costs.speed import Speed
from bilp.costs.work import Work
from bilp.errors import ConfigError
from bilp.nets.arithmetic import arithmetic

ENOUGH = 60.0
"""Seconds after which a kind of work is not repeated any more."""


@dataclass(frozen=True)
class Probe:
    """A kind of work, and how some of it is done."""

    kind: str
    """As units name it (`Unit.kind`, `Work.kind`)."""
    title: str
    """What a step is, in words."""
    network: NetworkCost
    gpu: str
    """Arithmetic of the GPU."""
    run: Callable[[int], Sequence[Work]]
    """Makes so many steps, about, and says what they did."""


@dataclass(frozen=True)
class Timed:
    """A kind of work that was timed."""

    probe: Probe
    passes: int
    """Sample passes of the steps."""
    seconds: float
    """That they took."""
    rate: float
    """By how much more than by the profile's formula."""


def timed(probe: Probe, steps: int, speed: Speed, device: torch.device) -> Timed:
    """Time so many steps, after one that is not counted unless it took long; fewer, if they would take longer than ENOUGH.

    On a GPU as many again are timed and the difference counts, so that what is recorded before the first step does not.
    Raises ConfigError, naming what to lower, if a step finds no memory, and as the step does.
    """
    with arithmetic(probe.gpu, device):
        found = _took(probe, 1, device)
        if found.seconds <= ENOUGH / 2:
            steps = max(1, min(steps, int(ENOUGH / found.seconds)))
            found = _took(probe, steps, device)
            if device.type == "cuda":
                found = _took(probe, 2 * steps, device).less(found)
    cost = probe.network.seconds(speed.profile, probe.gpu)
    return Timed(probe, found.passes, found.seconds, found.seconds / (cost * found.forwards))


@dataclass(frozen=True)
class _Took:
    """Steps that were timed."""

    seconds: float
    passes: int
    forwards: float
    """Forward passes that take as long by the formulas."""

    def less(self, other: _Took) -> _Took:
        """The difference, if it is one of time and of work."""
        if self.seconds <= other.seconds or self.forwards <= other.forwards:
            return self
        return _Took(self.seconds - other.seconds, self.passes - other.passes, self.forwards - other.forwards)


def _took(probe: Probe, steps: int, device: torch.device) -> _Took:
    try:
        _wait(device)
        began = time.monotonic()
        works = probe.run(steps)
        _wait(device)
        seconds = time.monotonic() - began
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ConfigError(
            f"--measure: {probe.title} finds no memory on {device}: lower distill.batch_real, the batch of what was timed or "
            "ingest.resolution, or plan without --measure"
        ) from error
    return _Took(max(seconds, 1e-9), sum(work.samples for work in works), sum(work.cost for work in works))


def _wait(device: torch.device) -> None:
    """Until a GPU has done what was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
