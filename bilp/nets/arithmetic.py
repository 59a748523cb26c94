"""How a GPU multiplies. It changes rounding, so it is a setting of each stage and part of its keys; a CPU knows none of it.

PyTorch by itself lets a GPU's convolutions, but not its matrix products, round their factors to TensorFloat-32 (10 bits of
mantissa). Here both do what the configuration says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bilp.config.base import GpuArithmetic
from bilp.nets.fused import fuse, require_triton

# By the dimensions of a kernel, in the plane and in space.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
LAST = ("tf32_channels_last", "fused")
"""Arithmetics under which channels come last."""


@contextmanager
def arithmetic(kind: GpuArithmetic, device: torch.device | str) -> Iterator[None]:
    """Inside, a GPU multiplies as `kind` says, in the whole process; before and after as it did. Nothing for other devices."""
    if torch.device(device).type != "cuda":
        yield
        return
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = kind not in ("float32", "fused")
    convolutions.allow_tf32 = kind != "float32"
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def place(network: nn.Module, kind: GpuArithmetic, device: torch.device | str) -> None:
    """Move a network to its device, with the channels of its kernels last if that is a GPU and `kind` says so.

    Convolutions then keep their maps in the order that tensor cores read. Values do not change. Where `kind` says so, too, norm,
    ReLU and pooling become one operation (`bilp.nets.fused`). Raises ConfigError if this machine lacks what that needs.
    """
    network.to(device)
    if torch.device(device).type != "cuda":
        return
    if kind == "fused":
        if torch.cuda.is_available():
            require_triton()
        fuse(network)
    if kind in LAST:
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.dim() in CHANNELS_LAST:
                    parameter.data = parameter.data.to(memory_format=CHANNELS_LAST[parameter.dim()])
