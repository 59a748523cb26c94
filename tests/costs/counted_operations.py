"""Floating point operations that are counted while something is computed."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Operations(TorchDispatchMode):
    """Counts the floating point operations of convolutions and products of matrices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, packet, given = func(*args, **(kwargs or {})), func._overloadpacket, kwargs or {}
        if packet is torch.ops.aten.convolution:
            self.total += 2 * (args[0] if args[6] else out).numel() * args[1][0].numel()
        elif packet is torch.ops.aten.convolution_backward:  # torch's own count leaves out what groups save
            gradient, images, weight, transposed, asked = args[0], args[1], args[2], args[7], args[10]
            self.total += 2 * (images if transposed else gradient).numel() * weight[0].numel() * (asked[0] + asked[1])
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **given, out_val=out)
        return out
