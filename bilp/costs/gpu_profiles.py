"""The registry of GPUs for whose speed a plan can be made without one.

No GPU was measured: figures are shares of the published peaks that convolutions of the ConvNets are taken to reach (60 % of
float32, 36 % of TensorFloat-32, 70 % of the memory's bandwidth). `bilp plan --measure` measures instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated

from bilp.registry import EntryName, Registry

CPU_FLOPS, CPU_BYTES = 9e10, 1.2e10
"""Of one core of an AMD EPYC: by these, DC and DM on CIFAR-10 take 24 and 20 minutes where benchmarks/records.md has 22 and 23."""


@dataclass(frozen=True)
class GpuProfile:
    """How fast a GPU is taken to be."""

    name: str
    title: str
    float32: float
    """Floating point operations a second of convolutions in float32."""
    tensor_float32: float
    """Likewise in TensorFloat-32."""
    bandwidth: float
    """Bytes a second to and from its memory."""
    memory: int
    """Bytes of memory."""
    from_host: float = 4.4e9
    """Bytes a second of images that are gathered on the host and copied."""
    gpu: bool = True
    """Whether it is a GPU, with a memory of its own."""


def _profile(name: str, title: str, peaks: tuple[float, float, float], memory: int) -> GpuProfile:
    """Of the published peaks: TFLOP/s in float32 and in TensorFloat-32 (dense), and TB/s; `memory` in GB."""
    float32, tensor_float32, bandwidth = peaks
    return GpuProfile(name, title, 0.6e12 * float32, 0.36e12 * tensor_float32, 0.7e12 * bandwidth, memory * 10**9)


CPU = GpuProfile("cpu", "1 CPU core", CPU_FLOPS, CPU_FLOPS, CPU_BYTES, 0, gpu=False)


GPU_PROFILES: Registry[GpuProfile] = Registry(
    "GPU profile",
    GpuProfile,
    (
        _profile("h100", "NVIDIA H100 SXM", (67.0, 495.0, 3.35), 80),
        _profile("h200", "NVIDIA H200 SXM", (67.0, 495.0, 4.8), 141),
        _profile("a100", "NVIDIA A100 SXM 80 GB", (19.5, 156.0, 2.04), 80),
        CPU,
    ),
)
GpuProfileName = Annotated[str, EntryName("bilp.costs.gpu_profiles:GPU_PROFILES")]


def profile_of(model: str, memory: int | None = None) -> GpuProfile:
    """The profile of a device, called as manifests call it: 'cpu', 'cuda: NVIDIA H100 80GB HBM3'.

    Of a GPU that has none, that of the first one, under its own name. `memory`, if it is known, is how much it has.
    """
    if not model.startswith("cuda"):
        return CPU
    name = model.partition(": ")[2] or model
    words = re.split(r"[^a-z0-9]+", name.lower())
    found = next((profile for profile in GPU_PROFILES.values() if profile.name in words), None)
    if found is None:
        found = replace(next(iter(GPU_PROFILES.values())), name="other", title=name)
    return found if memory is None else replace(found, memory=memory)
