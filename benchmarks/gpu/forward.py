"""The real side of DM at ipc 1, 2,560 images through a ConvNet: which arithmetic, layout and compiler pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.gpu.device import Machine, rows, tf32
from benchmarks.gpu.iterations import CLASSES, SHAPE
from bilp.config import NetworkConfig
from bilp.nets import Network, build, initialize
from bilp.seeds import generator


def network(machine: Machine) -> Network:
    """A frozen ConvNet on the device, always the same."""
    found = build(NetworkConfig(width=machine.pick(16, 128)), SHAPE, CLASSES)
    initialize(found, generator(0, "network"))
    return cast(Network, found.to(machine.device).requires_grad_(False))


@torch.no_grad()
def forward(machine: Machine) -> dict[str, Any]:
    """Milliseconds and relative error of each way."""
    plain, other = network(machine), network(machine)
    last = other.to(memory_format=cast(Any, torch.channels_last))
    images = torch.randn(machine.pick(64, 2560), *SHAPE, device=machine.device)
    in_rows = images.to(memory_format=torch.channels_last)

    def brief() -> Tensor:
        with torch.autocast(machine.device.type, torch.bfloat16):
            return last.embed(in_rows)

    ways: dict[str, tuple[bool, Callable[[], Tensor]]] = {
        "float32": (False, lambda: plain.embed(images)),
        "tf32": (True, lambda: plain.embed(images)),
        "tf32, 256 at a time": (True, lambda: torch.cat([plain.embed(part) for part in images.split(256)])),
        "tf32, channels last": (True, lambda: last.embed(in_rows)),
        "bfloat16, channels last": (True, brief),
    }
    if not machine.rehearsal:  # compiling takes longer than a rehearsal
        compiled = torch.compile(last.embed, dynamic=False)
        ways["tf32, channels last, compiled"] = (True, lambda: compiled(in_rows))
        ways["bfloat16, channels last, compiled"] = (True, torch.compile(brief, dynamic=False))
    with tf32(False):
        expected = plain.embed(images)

    def one(name: str) -> dict[str, Any]:
        on, way = ways[name]
        with tf32(on):
            error = float((way().float() - expected).norm() / expected.norm())
            return {"ms": machine.milliseconds(way, 5, 2), "error": error}

    return rows(machine, ways, one)
