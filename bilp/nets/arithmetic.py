"""How a GPU computes: with the precision that the configuration names, and so that the same computation gives the same bytes.

The precision changes rounding, so it is a setting of each stage and part of its keys (`bilp.config.arithmetics`). PyTorch by itself lets a
GPU's convolutions, but not its matrix products, round their factors to TensorFloat-32.

By itself it also chooses the fastest algorithm, and some of these add in an order that differs from run to run: gradients of
convolutions with respect to their kernels, sums into places that are named by indices. Two processes would then publish
different bytes under one key. Here every algorithm is deterministic; an operation that has no such form raises RuntimeError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock
from typing import NamedTuple

import torch
from torch import nn

from bilp.config.arithmetics import ARITHMETICS, Arithmetic
from bilp.config.base import GpuArithmetic
from bilp.nets.device import settle_workspace
from bilp.nets.fused import fuse, require_triton

# By the dimensions of a kernel, in the plane and in space.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

_alone = RLock()
"""Held while a thread computes on a GPU: the switches are those of the whole process, and the next thread may want others."""


@contextmanager
def arithmetic(kind: GpuArithmetic, device: torch.device | str) -> Iterator[None]:
    """Inside, a GPU computes as `kind` says, in the whole process, and is the current one; before and after all is as it was.

    Other threads wait at their own block until this one is left; blocks of the same thread may lie within each other. Nothing
    happens for other devices. Raises ConfigError if the environment keeps matrix products from being deterministic.
    """
    device = torch.device(device)
    if device.type != "cuda":
        yield
        return
    settle_workspace()
    with _alone, _current(device):
        before = _Switches.now()
        _Switches.of(ARITHMETICS[kind]).set()
        try:
            yield
        finally:
            before.set()


def place(network: nn.Module, kind: GpuArithmetic, device: torch.device | str) -> None:
    """Move a network to its device, with the channels of its kernels last if that is a GPU and `kind` says so.

    Convolutions then keep their maps in the order that tensor cores read. Values do not change. Where `kind` says so, too, norm,
    ReLU and pooling become one operation (`bilp.nets.fused`). Raises ConfigError if this machine lacks what that needs.
    """
    network.to(device)
    if torch.device(device).type != "cuda":
        return
    if ARITHMETICS[kind].fused:
        if torch.cuda.is_available():
            require_triton()
        fuse(network)
    if ARITHMETICS[kind].channels_last:
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.dim() in CHANNELS_LAST:
                    parameter.data = parameter.data.to(memory_format=CHANNELS_LAST[parameter.dim()])


class _Switches(NamedTuple):
    """What PyTorch keeps for the whole process."""

    products: bool
    convolutions: bool
    only_deterministic: bool
    cudnn_deterministic: bool
    cudnn_benchmark: bool
    filled: bool

    @classmethod
    def of(cls, kind: Arithmetic) -> _Switches:
        """Those of an arithmetic. Algorithms are not chosen by their time, which differs; fresh memory is not filled, as all of it
        is written before it is read, and filling would be a kernel more for each tensor."""
        return cls(kind.products, kind.convolutions, True, True, False, False)

    @classmethod
    def now(cls) -> _Switches:
        """Those that are set."""
        return cls(
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        )

    def set(self) -> None:
        """Set them."""
        torch.backends.cuda.matmul.allow_tf32 = self.products
        torch.backends.cudnn.allow_tf32 = self.convolutions
        if self.only_deterministic != torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(self.only_deterministic)
        torch.backends.cudnn.deterministic = self.cudnn_deterministic
        torch.backends.cudnn.benchmark = self.cudnn_benchmark
        torch.utils.deterministic.fill_uninitialized_memory = self.filled  # type: ignore[attr-defined]


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Makes a GPU the current one of this thread: compiled kernels, graphs and streams take that, whatever their tensors lie on."""
    known = device.index is not None and torch.cuda.is_available()
    return torch.cuda.device(device) if known else nullcontext()
