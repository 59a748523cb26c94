"""What this device can do at best: products, copies, launches."""

from __future__ import annotations

import sys
from typing import Any

import torch

from benchmarks.gpu.device import Machine, said, tf32

ADDITIONS = 500


def environment(machine: Machine) -> dict[str, Any]:
    """Teraflops by arithmetic, gigabytes a second, microseconds per kernel launched one by one and in a CUDA graph, per copy."""
    device, name = machine.device, "CPU"
    if device.type == "cuda":
        name = torch.cuda.get_device_name()
    row: dict[str, Any] = {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "device": name,
        "cudnn": torch.backends.cudnn.version(),
    }
    side = machine.pick(512, 8192)
    left, right = (torch.randn(side, side, device=device) for _ in range(2))
    for kind, on, dtype in (("float32", False, torch.float32), ("tf32", True, torch.float32), ("bfloat16", False, torch.bfloat16)):
        x, y = left.to(dtype), right.to(dtype)
        with tf32(on):
            row[f"{kind} TFLOP/s"] = 2 * side**3 / machine.milliseconds(lambda x=x, y=y: x @ y, 5, 2) / 1e9
    block = torch.empty(machine.pick(2**24, 2**30), dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    row["copy GB/s"] = 2 * block.numel() / machine.milliseconds(lambda: other.copy_(block), 5, 2) / 1e6
    small = torch.zeros(64, device=device)

    def additions() -> None:
        for _ in range(ADDITIONS):
            small.add_(1)

    row["launch us"] = machine.milliseconds(additions, 5, 2) * 1e3 / ADDITIONS
    if device.type == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            additions()
        row["launch in a graph us"] = machine.milliseconds(graph.replay, 5, 2) * 1e3 / ADDITIONS
        pageable = torch.empty(2**21, dtype=torch.uint8)
        pinned = pageable.pin_memory()
        row["2 MiB up, pageable us"] = machine.milliseconds(lambda: pageable.to(device)) * 1e3
        row["2 MiB up, pinned us"] = machine.milliseconds(lambda: pinned.to(device, non_blocking=True)) * 1e3
    return said("environment", row)
