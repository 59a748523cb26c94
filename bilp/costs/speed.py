"""How fast samples pass a network, and how much of them a GPU holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bilp.config import NetworkConfig
from bilp.config.shapes import frames_in, is_clip
from bilp.costs.data_counts import DataCounts
from bilp.costs.gpu_profiles import GpuProfile
from bilp.costs.network_cost import NetworkCost, network_cost
from bilp.costs.work import Unit, Work
from bilp.data.resident import SHARE
from bilp.nets.by_device import LARGE_MEMORY

IMAGE_SECONDS = 1.8e-3
"""Decoding a JPEG of 500 x 375 to a side of 64 on one core, as measured on a desktop processor."""
CLIP_SECONDS = 65e-3
"""Likewise 8 frames of a clip of ten seconds at 340 x 256 and 30 frames a second."""
DISK_BYTES = 1e9
"""Bytes a second that joining and summarizing read, about."""
PASS_SHARE = 2 * 2**30, 12 * 2**30
"""What a pass holds at most on a GPU with little memory and on one with much."""
TRAINING = 3.0
"""A step of training costs as much as so many forward passes."""


@dataclass(frozen=True)
class Speed:
    """Of a GPU, on the samples of a data set."""

    profile: GpuProfile
    data: DataCounts
    factor: float = 1.0
    """By how much more time work took where it was measured than by the profile's formula."""

    def network(self, config: NetworkConfig) -> NetworkCost:
        """What a forward pass costs."""
        return network_cost(config, self.data.shape, self.data.classes)

    def unit(
        self, stage: str, name: str, config: NetworkConfig, arithmetic: str, works: Sequence[Work], read: int, state: int = 0, real: int = 0
    ) -> Unit:
        """A unit of work of a GPU.

        Args:
            stage: Of the pipeline.
            name: Of the unit.
            config: The network that samples pass.
            arithmetic: Of the GPU.
            works: What is done to samples.
            read: Stored training samples that it looks at.
            state: Bytes that it holds beside images and passes.
            real: Passes of stored samples, each of which travels where they are not resident.
        """
        cost = self.network(config)
        seconds = self.factor * cost.seconds(self.profile, arithmetic) * sum(work.samples * work.forwards for work in works)
        size = read * self.data.sample_bytes
        resident = size <= SHARE * self.profile.memory
        if not resident:
            seconds += real * self.data.sample_bytes / self.profile.from_host
        held = PASS_SHARE[self.profile.memory >= LARGE_MEMORY]
        memory = (size if resident else 0) + state + held + 16 * cost.parameters
        return Unit(stage, name, seconds, tuple(works), size, memory, resident)

    @staticmethod
    def decoding_of(data: DataCounts) -> float:
        """Seconds of one core for an item; 0 of arrays, which need no decoding."""
        if not data.encoded:
            return 0.0
        return CLIP_SECONDS * frames_in(data.shape) / 8 if is_clip(data.shape) else IMAGE_SECONDS
