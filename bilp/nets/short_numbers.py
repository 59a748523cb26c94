"""A network whose convolutions and products round to bfloat16, for real samples whose mean is wanted and not each one's vector.

Processors with instructions for these numbers (AVX512-BF16, AMX; tensor cores since Ampere) multiply twice as fast with them or faster.
Features of a ConvNet then differ by 5e-3 of their length, gradients by 1e-2. Parameters, synthetic images and means stay float32.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor

from bilp.config.shapes import Shape
from bilp.errors import ConfigError
from bilp.nets.network import Network
from bilp.nets.shared import SharedNetwork

INSTRUCTIONS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names in /proc/cpuinfo: of Intel and AMD, of Intel, of ARM."""
CPU_FACTS = Path("/proc/cpuinfo")
AMPERE = (8, 0)


class ShortNumbers(SharedNetwork):
    """Layers round their inputs, weights and gradients to bfloat16 and add in float32 (torch.autocast); results are float32."""

    def embed(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return super().embed(images).float()

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return super().forward(images).float()


def in_bfloat16(network: Network, shape: Shape, device: torch.device) -> Network:
    """The network in these numbers."""
    return ShortNumbers(network)


def require_bfloat16(device: torch.device) -> None:
    """Raise ConfigError if the device multiplies them no faster than others: emulated, they are several times slower."""
    if device.type == "cuda":
        if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < AMPERE:
            raise ConfigError(
                f"real_pass=bfloat16 needs a GPU with such tensor cores (Ampere or later), not {torch.cuda.get_device_name(device)}: "
                "set distill.real_pass to float32"
            )
    elif not _processor_has_bfloat16():
        raise ConfigError(
            "real_pass=bfloat16 needs a processor with instructions for these numbers (AVX512-BF16 or AMX, or those of ARM), "
            "and this one names none in /proc/cpuinfo: set distill.real_pass to float32"
        )


@functools.cache
def _processor_has_bfloat16() -> bool:
    try:
        facts = CPU_FACTS.read_text()
    except OSError:  # no Linux
        return False
    listed = (line.partition(":")[2].split() for line in facts.splitlines() if line.lower().startswith(("flags", "features")))
    return not INSTRUCTIONS.isdisjoint(next(listed, []))
