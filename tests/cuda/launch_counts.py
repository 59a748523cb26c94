"""What a CUDA device would be asked for: operations, kernels, waits of the host, copies, counted line by line."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

WATCHED = ("/bilp/", "/tasks/", "/flows/", "/benchmarks/")

# Kernels per operation on CUDA in eager PyTorch, float32, contiguous; 1 where nothing is said. Rough, from PyTorch's sources.
KERNELS = {
    "convolution": 2,  # the product, and the bias in a kernel of its own; changes of layout for tensor cores come on top
    "native_group_norm": 3,
    "native_group_norm_backward": 5,
    "native_layer_norm_backward": 3,
    "sort": 6,
    "argsort": 6,
    "linalg_qr": 30,
    "linalg_eigh": 30,
    "nonzero": 3,
    "_unique2": 8,
    "bincount": 3,
    "randperm": 3,
    "index_put": 2,
    "index_put_": 2,
    "_index_put_impl_": 2,
}
ACCUMULATING = 8  # index_put with accumulate sorts first
PUTS = ("index_put", "index_put_", "_index_put_impl_")
# Operations that launch nothing beside the views, which say so themselves.
FREE = {
    *("_unsafe_view", "_reshape_alias", "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "detach", "detach_"),
    *("alias", "lift_fresh", "_local_scalar_dense", "resize_", "set_", "_fw_primal", "_make_dual", "_unpack_dual", "requires_grad_"),
    *("view_copy", "is_same_size"),
}
# The host waits: the size or the value of the result decides what comes next.
WAITING = {
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal", "is_nonzero"),
    *("_linalg_eigh", "linalg_eigh", "_linalg_solve_ex", "linalg_qr", "_linalg_svd", "bincount", "histc", "multinomial", "linalg_inv_ex"),
}
# Sums in an order that differs from run to run, unless deterministic algorithms are asked for.
UNORDERED = {
    *("scatter_add", "scatter_add_", "index_add", "index_add_", "put_", "histc", "cumsum", "kthvalue", "median", "scatter_reduce"),
    *("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward", "_adaptive_avg_pool2d_backward", "avg_pool3d_backward"),
    *("upsample_bilinear2d_backward", "upsample_nearest2d_backward", "grid_sampler_2d_backward", "convolution_backward"),
    "embedding_dense_backward",
}


class NotCapturable(AssertionError):
    """What CUDA would not capture as a graph, or what a replay could not do right. No RuntimeError: nothing may pass over it."""


@dataclass
class Counts:
    """What was asked for since `clear`; every counter's keys name the line of the program that asked."""

    operations: Counter[str] = field(default_factory=Counter)
    kernels: int = 0
    by_line: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)
    copied_bytes: int = 0
    unordered: Counter[str] = field(default_factory=Counter)
    capturing: bool = False
    """Whether what is asked for is being captured as a graph, in which nothing may wait or be copied."""

    @property
    def launches(self) -> int:
        """Operations that would launch at least one kernel."""
        return sum(self.operations.values())

    def clear(self) -> None:
        """Forget everything."""
        for counter in (self.operations, self.by_line, self.waits, self.copies, self.unordered):
            counter.clear()
        self.kernels = self.copied_bytes = 0

    def wait(self, what: str, depth: int) -> None:
        """The host waits for the device."""
        place = f"{what} at {line(depth + 1)}"
        if self.capturing:
            raise NotCapturable(f"the host waits: {place}")
        self.waits[place] += 1

    def copy(self, what: str, size: int, depth: int) -> None:
        """Bytes go to the device."""
        if self.capturing:
            raise NotCapturable(f"a copy to the device: {what} at {line(depth + 1)}")
        self.copies[f"{what} at {line(depth + 1)}"] += 1
        self.copied_bytes += size

    def created(self, name: str, depth: int) -> None:
        """A tensor was filled on the device."""
        self._launch(name, KERNELS.get(name, 1), line(depth + 1))

    def replayed(self, kernels: int) -> None:
        """A graph of so many kernels was launched."""
        self.operations["graph"] += 1
        self.kernels += kernels

    def operation(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], depth: int) -> None:
        """An operation of ATen on tensors of the device."""
        name = func._schema.name.split("::")[1]
        place = line(depth + 1)
        if name in WAITING or _by_mask(name, args) or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self.wait(name, depth + 1)
        if name in FREE or _is_view(func):
            return
        if name in UNORDERED:
            self.unordered[f"{name} at {place}"] += 1
        self._launch(name, _kernels(name, args), place)

    def _launch(self, name: str, kernels: int, place: str) -> None:
        self.operations[name] += 1
        self.kernels += kernels
        self.by_line[place] += kernels


def line(depth: int) -> str:
    """The innermost line of the program `depth` frames up or above; of a backward pass the line that called it."""
    frame = sys._getframe(depth)
    while frame is not None:
        name = frame.f_code.co_filename
        place = next((part for part in WATCHED if part in name), None)
        if place and "/site-packages/" not in name:
            return f"{name[name.rindex(place) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


def _by_mask(name: str, args: Sequence[Any]) -> bool:
    """Whether booleans choose elements, so that the number of them must be known first; one value for all of them needs no number."""
    if name not in ("index", *PUTS) or not any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
        return False
    return name == "index" or args[2].numel() != 1 or bool(len(args) > 3 and args[3])


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _kernels(name: str, args: Sequence[Any]) -> int:
    if name in PUTS and len(args) > 3 and args[3]:
        return ACCUMULATING
    if name == "convolution" and args[2] is None:
        return 1
    if name == "convolution_backward":  # with respect to data, weight (and the sum over its parts), bias
        return sum(number for number, wanted in zip((1, 2, 1), args[-1], strict=True) if wanted)
    return KERNELS.get(name, 1)
