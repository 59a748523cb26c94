"""Tensors that follow from sizes and settings alone: made once on the CPU, and copied once to each device that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache

import torch
from torch import Tensor


def on_device(make: Callable[..., Tensor], *arguments: Hashable, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Tensor:
    """What `make(*arguments)` gives, on a device and in a precision. Do not write into it: it is kept.

    A CUDA graph may use it if it was asked for before the graph was captured.
    """
    return _kept(make, arguments, torch.device(device), dtype)


@cache
def _kept(make: Callable[..., Tensor], arguments: tuple[Hashable, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return make(*arguments).to(device, dtype)


def forget() -> None:
    """Drop everything that is kept."""
    _kept.cache_clear()
