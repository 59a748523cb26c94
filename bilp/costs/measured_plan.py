"""A plan whose times come from real steps on this device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from bilp.artifacts.provenance import provenance
from bilp.config import PipelineConfig
from bilp.costs.data_counts import DataCounts
from bilp.costs.generated import generated
from bilp.costs.gpu_profiles import GpuProfile, profile_of
from bilp.costs.probes import probes
from bilp.costs.run_plan import Plan
from bilp.costs.speed import Speed
from bilp.costs.timed_steps import Timed, timed
from bilp.nets.by_device import memory_of

MORE = 2
"""Samples of a class over those of a batch, so that there is something to choose from."""


@dataclass(frozen=True)
class Measurement:
    """What was timed."""

    device: str
    """As manifests call it."""
    profile: GpuProfile
    """By whose formula times are scaled."""
    found: tuple[Timed, ...]

    def speed(self, speed: Speed) -> Speed:
        """The same, by the rates that were found."""
        return replace(speed, rates={each.probe.kind: each.rate for each in self.found})

    def unmeasured(self, plan: Plan) -> list[str]:
        """Kinds of units whose times still come from the profile, or from what else is assumed."""
        known = {each.probe.kind for each in self.found}
        return list(dict.fromkeys(unit.name for unit in plan.units if unit.kind not in known))


def device_profile(device: torch.device) -> GpuProfile:
    """The profile of a device of this machine."""
    return profile_of(str(provenance(device)["device"]), memory_of(device) or None)


def measured(
    config: PipelineConfig, data: DataCounts, speed: Speed, device: torch.device, steps: int, told: Callable[[str], object]
) -> Measurement:
    """Time so many real steps of each kind of work on generated data of the right shape, of some of the classes.

    Nothing is left of what they make. Raises ConfigError for a step that finds no memory, and as the steps do.

    Args:
        config: The pipeline.
        data: What would be its data set.
        speed: By the profile of the device.
        device: Of this machine.
        steps: Of each kind.
        told: Called with what is timed next.
    """
    found = []
    with generated(data, MORE * config.distill.batch_real, device, config.seed) as made:
        for probe in probes(config, made, speed, device):
            told(probe.title)
            found.append(timed(probe, steps, speed, device))
    return Measurement(str(provenance(device)["device"]), speed.profile, tuple(found))
