"""How fast samples pass a network, and how much of them a GPU holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bilp.config import METHODS, DistillConfig, NetworkConfig
from bilp.config.shapes import frames_in, is_clip
from bilp.costs.data_counts import DataCounts
from bilp.costs.gpu_profiles import GpuProfile
from bilp.costs.network_cost import NetworkCost, encoder_cost, network_cost
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


@dataclass(frozen=True)
class Speed:
    """Of a GPU, on the samples of a data set."""

    profile: GpuProfile
    data: DataCounts
    rates: Mapping[str, float] = field(default_factory=dict)
    """By how much more time a kind of work took where it was measured than by the profile's formula."""

    def network(self, config: NetworkConfig) -> NetworkCost:
        """What a forward pass costs."""
        return network_cost(config, self.data.shape, self.data.classes)

    def distilled_with(self, config: DistillConfig, teacher: NetworkConfig) -> NetworkCost:
        """The network that the samples of a distillation pass: its own, the teacher, or an encoder that is supplied."""
        if config.linear.encoder is not None:
            return encoder_cost(config.linear.encoder, config.linear.side, tuple(self.data.shape), self.data.classes)
        return self.network(teacher if METHODS[config.method].needs_teacher else config.network)

    def seconds_of(self, work: Work, network: NetworkCost, arithmetic: str, kind: str) -> float:
        """How long work takes, of a unit of a kind, without what travels."""
        return self.rates.get(work.kind or kind, 1.0) * work.cost * network.seconds(self.profile, arithmetic)

    def unit(
        self,
        stage: str,
        name: str,
        network: NetworkCost,
        arithmetic: str,
        works: Sequence[Work],
        read: int,
        state: int = 0,
        kind: str = "",
    ) -> Unit:
        """A unit of work of a GPU, or of the CPU that the profile stands for.

        Args:
            stage: Of the pipeline.
            name: Of the unit.
            network: That samples pass.
            arithmetic: Of the GPU.
            works: What is done to samples.
            read: Stored training samples that it looks at.
            state: Bytes that it holds beside images and passes.
            kind: What is measured to know its time; by default what the stage is called.
        """
        size, profile = read * self.data.sample_bytes, self.profile
        resident = size <= SHARE * profile.memory if profile.gpu else None

        def seconds(works: Sequence[Work]) -> float:
            computed = sum(self.seconds_of(work, network, arithmetic, kind or stage) for work in works)
            moved = sum(work.samples for work in works if work.stored) if resident is False else 0
            return computed + moved * self.data.sample_bytes / profile.from_host

        most = seconds([replace(work, samples=work.most or work.samples) for work in works]) if any(work.most for work in works) else None
        held = PASS_SHARE[profile.memory >= LARGE_MEMORY]
        memory = (size if resident else 0) + state + held + 16 * network.parameters if profile.gpu else 0
        return Unit(stage, name, seconds(works), tuple(works), size, memory, resident, device=True, kind=kind or stage, most_seconds=most)

    @staticmethod
    def decoding_of(data: DataCounts) -> float:
        """Seconds of one core for an item; 0 of arrays, which need no decoding."""
        if not data.encoded:
            return 0.0
        return CLIP_SECONDS * frames_in(data.shape) / 8 if is_clip(data.shape) else IMAGE_SECONDS
